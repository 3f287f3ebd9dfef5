"""The picture of an embedding space: clusters along the baseline's principal directions, sized by their mass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from incumbent.dashboard.charts import SCHEMA

_LABELS = 8  # clusters named in the picture; all are named on hover


def space(picture: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Every cluster as two circles: a ring for its share of the baseline and a disc for its share now.

    `picture` is the plain form of `drift.space_map.SpaceMap`: ``points`` of {cluster, x, y, reference, current, part,
    words}, ``x_variance``, ``y_variance``. A disc beyond its ring has grown. Areas are shares, on one scale; the clusters
    that explain most of the change are named. None without points.

    >>> point = {"cluster": 3, "x": 0.1, "y": -0.2, "reference": 0.02, "current": 0.05, "part": 0.9, "words": "bag"}
    >>> spec = space({"points": [point], "x_variance": 0.2, "y_variance": 0.1})
    >>> spec["data"]["values"][0]["change"], space({"points": []})
    ('grew', None)
    """  # noqa: E501
    if not picture or not picture["points"]:
        return None
    rows = [{**point, "change": "grew" if point["current"] > point["reference"] else "shrank"
             if point["current"] < point["reference"] else "same"} for point in picture["points"]]
    named = sorted((row for row in rows if row["part"] > 0), key=lambda row: -row["part"])[:_LABELS]
    most = max(max(row["reference"], row["current"]) for row in rows)
    x, y = ({"field": name, "type": "quantitative", "axis": {"grid": True, "labels": False, "ticks": False},
             "scale": {"nice": True, "padding": 20},
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
        "$schema": SCHEMA, "width": "container", "height": 420, "data": {"values": rows},
        "description": "Clusters of the embedding space by their share of the baseline and of the current window",
        "layer": [
            {"mark": {"type": "circle", "opacity": 0.45}, "encoding": {
                "x": x, "y": y, "color": colour, "tooltip": tooltip,
                "size": {"field": "current", "type": "quantitative", "scale": scale, "legend": None}}},
            {"mark": {"type": "point", "filled": False, "strokeWidth": 1.4, "color": "text"}, "encoding": {
                "x": x, "y": y, "tooltip": tooltip,
                "size": {"field": "reference", "type": "quantitative", "scale": scale, "legend": None}}},
            {"data": {"values": named}, "mark": {"type": "text", "dy": -18, "fontSize": 11, "color": "text"},
             "encoding": {"x": x, "y": y, "text": {"field": "words"}}},
        ],
    }
