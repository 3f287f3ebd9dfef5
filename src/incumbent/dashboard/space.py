"""The picture of an embedding space: clusters along the baseline's principal directions, sized by their mass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import east_asian_width

from incumbent.dashboard.charts import SCHEMA

_LABELS = 8  # clusters named in the picture; all are named on hover
_HEIGHT, _LINE, _LETTER, _WIDE = 420, 14, 6.5, 12.0  # pixels: of the picture, of a label's line, of its letters at most
_ABOVE, _BELOW = -18, 18  # pixels from a cluster to its label
_MARGIN = 0.08  # of the picture's length, on either side
_WIDEST = 2000  # pixels: a label that needs a wider picture is never shown


def space(picture: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Every cluster as two circles: a ring for its share of the baseline and a disc for its share now.

    `picture` is the plain form of `drift.space_map.SpaceMap`: ``points`` of {cluster, x, y, reference, current, part,
    words}, ``x_variance``, ``y_variance``. A disc beyond its ring has grown. Areas are shares, on one scale; the clusters
    that explain most of the change are named, unless a name would meet one of a cluster that explains more (`placed`).
    None without points.

    >>> point = {"cluster": 3, "x": 0.1, "y": -0.2, "reference": 0.02, "current": 0.05, "part": 0.9, "words": "bag"}
    >>> spec = space({"points": [point], "x_variance": 0.2, "y_variance": 0.1})
    >>> spec["data"]["values"][0]["change"], space({"points": []})
    ('grew', None)
    """  # noqa: E501
    if not picture or not picture["points"]:
        return None
    rows = [{**point, "change": "grew" if point["current"] > point["reference"] else "shrank"
             if point["current"] < point["reference"] else "same"} for point in picture["points"]]
    ends = {name: _ends([row[name] for row in rows]) for name in ("x", "y")}
    named = placed(sorted((row for row in rows if row["part"] > 0), key=lambda row: -row["part"])[:_LABELS], **ends)
    most = max(max(row["reference"], row["current"]) for row in rows)
    x, y = ({"field": name, "type": "quantitative", "axis": {"grid": True, "labels": False, "ticks": False},
             "scale": {"domain": ends[name], "nice": False, "zero": False},
             "title": f"{title} ({picture[f'{name}_variance']:.0%} of the variance)"}
            for name, title in (("x", "first principal direction"), ("y", "second")))
    scale = {"type": "linear", "domain": [0, most], "range": [0, 1600]}
    tooltip = [{"field": "words", "title": "cluster of"}, {"field": "cluster", "title": "number"},
               {"field": "reference", "type": "quantitative", "format": ".2%", "title": "baseline"},
               {"field": "current", "type": "quantitative", "format": ".2%", "title": "now"},
               {"field": "part", "type": "quantitative", "format": ".0%", "title": "part of the change"}]
    colour = {"field": "change", "type": "nominal", "title": None, "legend": {"orient": "top"}, "scale": {
        "domain": ["grew", "shrank", "same"], "range": ["candidate", "bad", "muted"]}}
    return {
        "$schema": SCHEMA, "width": "container", "height": _HEIGHT, "data": {"values": rows},
        "description": "Clusters of the embedding space by their share of the baseline and of the current window",
        "layer": [
            {"mark": {"type": "circle", "opacity": 0.45}, "encoding": {
                "x": x, "y": y, "color": colour, "tooltip": tooltip,
                "size": {"field": "current", "type": "quantitative", "scale": scale, "legend": None}}},
            {"mark": {"type": "point", "filled": False, "strokeWidth": 1.4, "color": "text"}, "encoding": {
                "x": x, "y": y, "tooltip": tooltip,
                "size": {"field": "reference", "type": "quantitative", "scale": scale, "legend": None}}},
            {"data": {"values": named}, "transform": [{"filter": "datum.room <= width"}],
             "mark": {"type": "text", "dy": {"expr": "datum.dy"}, "align": {"expr": "datum.align"}, "fontSize": 11,
                      "color": "text"},
             "encoding": {"x": x, "y": y, "text": {"field": "words"}}},
        ],
    }


def placed(rows: Sequence[Mapping[str, Any]], x: Sequence[float], y: Sequence[float]) -> list[dict[str, Any]]:
    """The labels of clusters, first come first served, above or below theirs: `dy` and `align` say where, `room` how
    wide in pixels the picture must be for them to meet no label before them. Those that would in any are left out.

    `x` and `y` are the ends of the axes.

    >>> rows = [{"x": at, "y": 0.0, "words": "garden chair"} for at in (0.5, 0.6, 0.7)]
    >>> [(one["dy"], round(one["room"])) for one in placed(rows, [0.0, 1.0], [-1.0, 1.0])]
    [(-18, 0), (18, 0), (-18, 390)]
    """
    made: list[dict[str, Any]] = []
    for row in rows:
        if not row["words"]:
            continue
        across = (row["x"] - x[0]) / (x[1] - x[0])
        align = "left" if across < 0.25 else "right" if across > 0.75 else "center"
        long = sum(_WIDE if east_asian_width(one) in "WF" else _LETTER for one in row["words"])
        begin = {"left": 0.0, "right": -long, "center": -long / 2}[align]
        options = []
        for dy in (_ABOVE, _BELOW):
            down = (y[1] - row["y"]) / (y[1] - y[0]) * _HEIGHT + dy
            one = {**row, "dy": dy, "align": align, "across": across, "down": down, "begin": begin, "end": begin + long}
            options.append({**one, "room": max((_room(one, other) for other in made), default=0.0)})
        best = min(options, key=lambda one: one["room"])
        made += [best] if best["room"] <= _WIDEST else []
    return [{name: value for name, value in one.items() if name not in ("across", "down", "begin", "end")}
            for one in made]


def _room(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How wide a picture must be for two labels not to meet."""
    if abs(one["down"] - other["down"]) >= _LINE:
        return 0.0
    left, right = sorted((one, other), key=lambda label: label["across"])
    overlap = left["end"] - right["begin"]
    return 0.0 if overlap <= 0 else overlap / max(right["across"] - left["across"], 1e-9)


def _ends(values: Sequence[float]) -> list[float]:
    """The ends of an axis, with a margin on either side."""
    low, high = min(values), max(values)
    margin = _MARGIN * (high - low) or 1.0
    return [low - margin, high + margin]
