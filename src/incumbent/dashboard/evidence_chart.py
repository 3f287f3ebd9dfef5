"""A stream over its windows: the evidence against "nothing changed", and the threshold of its part of the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from incumbent.dashboard.charts import SCHEMA

_KINDS = ("quiet", "alarm", "no data")
_CUT = 1e12  # what is drawn of an evidence that is as good as certain


def evidence(points: Sequence[Mapping[str, Any]], threshold: float) -> dict[str, Any] | None:
    """Every window's evidence on a logarithmic scale: 1 / p of a rank, or the e-value that windows have multiplied to.

    `points` are {window, evidence, n, status, statistic}; a window without evidence stands at 1 as no data. None where
    no window was judged.

    >>> spec = evidence([{"window": "2026-03-01", "evidence": 40.0, "n": 9, "status": "ok", "statistic": ""}], 20)
    >>> spec["layer"][1]["data"]["values"][0]["kind"], evidence([], 20)
    ('alarm', None)
    """
    rows = [{"window": point["window"], "evidence": min(max(value, 1e-3), _CUT), "n": point["n"],
             "most": point["statistic"], "kind": "alarm" if value >= threshold * (1 - 1e-9) else "quiet"}
            for point in points if (value := point["evidence"]) is not None]
    if not rows:
        return None
    absent = [{"window": point["window"], "evidence": 1.0, "n": point["n"], "kind": "no data", "most": point["status"]}
              for point in points if point["evidence"] is None]
    x = {"field": "window", "type": "temporal", "title": None, "axis": {
        "grid": False, "labelOverlap": True, "tickCount": 5, "format": "%d %b"}}
    y = {"field": "evidence", "type": "quantitative", "title": "evidence", "scale": {"type": "log", "nice": False},
         "axis": {"format": "~g", "tickCount": 4, "grid": False}}
    colour = {"field": "kind", "type": "nominal", "legend": None, "scale": {
        "domain": list(_KINDS), "range": ["candidate", "bad", "warn"]}}
    tooltip = [{"field": "window", "type": "temporal", "title": "window", "format": "%d %b %Y %H:%M"},
               {"field": "evidence", "type": "quantitative", "format": ".3g", "title": "evidence"},
               {"field": "n", "type": "quantitative", "format": ",", "title": "rows"},
               {"field": "most", "title": "most off"}]
    layers: list[dict[str, Any]] = [
        {"data": {"values": rows}, "mark": {"type": "line", "color": "muted", "opacity": 0.5, "strokeWidth": 1},
         "encoding": {"x": x, "y": y}},
        {"data": {"values": rows}, "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
         "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip}}]
    if absent:
        layers.append({"data": {"values": absent}, "mark": {"type": "point", "shape": "cross", "size": 40},
                       "encoding": {"x": x, "y": y, "color": colour, "tooltip": [tooltip[0], *tooltip[2:]]}})
    layers.append({"data": {"values": [{"at": min(threshold, _CUT)}]},
                   "mark": {"type": "rule", "color": "bad", "strokeDash": [5, 4]},
                   "encoding": {"y": {"field": "at", "type": "quantitative"}}})
    return {"$schema": SCHEMA, "width": "container", "height": 110, "layer": layers,
            "description": "Evidence of drift over windows, and the threshold"}
