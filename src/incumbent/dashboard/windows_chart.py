"""A stream over its windows: how far off each is, in standard units of its own null, and the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from incumbent.dashboard.charts import SCHEMA

_KINDS = ("baseline", "ok", "off", "no data")


def windows(points: Sequence[Mapping[str, Any]], threshold: float | None, *, temporal: bool = True,
            title: str = "standard units of its null", how: str = "") -> dict[str, Any] | None:
    """Every window's score by time: those of the baseline, of now, and those past the threshold.

    `points` are {window, side, score, status, reason, n}; a window without a score stands on the axis as no data; `how`
    says of a threshold that is no rank how it came by. The scale is symmetric-logarithmic, so that a score of a
    thousand does not hide the rest. None where no window has a score.

    >>> spec = windows([{"window": "2026-01-01", "side": "current", "score": 9.0, "off": True, "n": 5, "reason": ""}], 3)
    >>> spec["layer"][1]["data"]["values"][0]["kind"], windows([], 1.0)
    ('off', None)
    """  # noqa: E501
    rows = [{"window": str(point["window"]), "score": point["score"], "n": point["n"], "kind": _kind(point),
             "why": str(point.get("reason") or "")} for point in points]
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        return None
    absent = [{**row, "score": 0.0} for row in rows if row["score"] is None]
    x: dict[str, Any] = {"field": "window", "type": "temporal" if temporal else "nominal", "title": None, "axis": {
        "grid": False, "labelOverlap": True, "tickCount": 8} if temporal else {"labelAngle": 0, "grid": False}}
    if temporal:
        x["axis"]["format"] = "%d %b"
    y = {"field": "score", "type": "quantitative", "title": title, "scale": {"type": "symlog", "constant": 4}}
    colour = {"field": "kind", "type": "nominal", "title": None, "legend": {"orient": "top"}, "scale": {
        "domain": list(_KINDS), "range": ["muted", "candidate", "bad", "warn"]}}
    tooltip = [{"field": "window", "type": "temporal" if temporal else "nominal", "title": "window", **(
        {"format": "%d %b %Y %H:%M"} if temporal else {})}, {"field": "kind", "title": "which"},
        {"field": "score", "type": "quantitative", "format": "+.2f", "title": "standard units"},
        {"field": "n", "type": "quantitative", "format": ",", "title": "rows"}, {"field": "why", "title": "most off"}]
    layers: list[dict[str, Any]] = [
        {"data": {"values": scored}, "mark": {"type": "line", "color": "muted", "opacity": 0.35, "strokeWidth": 1},
         "encoding": {"x": x, "y": y}},
        {"data": {"values": scored}, "mark": {"type": "point", "filled": True, "size": 42, "opacity": 0.95},
         "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip}}]
    if absent:
        layers.append({"data": {"values": absent}, "mark": {"type": "point", "shape": "cross", "size": 46},
                       "encoding": {"x": x, "y": y, "color": colour, "tooltip": [tooltip[0], *tooltip[3:]]}})
    if threshold is not None:
        layers.append(_threshold(threshold, f", {how}" if how else ""))
    return {"$schema": SCHEMA, "width": "container", "height": 220, "layer": layers,
            "description": "How far off every window is, in standard units of its own null, and the threshold"}


def _kind(point: Mapping[str, Any]) -> str:
    if point["score"] is None:
        return "no data"
    if point["side"] == "baseline":
        return "baseline"
    return "off" if point.get("off") else "ok"


def _threshold(at: float, how: str) -> dict[str, Any]:
    y = {"field": "at", "type": "quantitative"}
    return {"data": {"values": [{"at": at, "label": f"threshold of one window{how}: {at:+.1f}"}]}, "layer": [
        {"mark": {"type": "rule", "color": "bad", "strokeDash": [5, 4]}, "encoding": {"y": y}},
        {"mark": {"type": "text", "align": "left", "x": 0, "dx": 4, "dy": -7, "fontSize": 11, "color": "bad"},
         "encoding": {"y": y, "text": {"field": "label"}}}]}
