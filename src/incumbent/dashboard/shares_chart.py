"""What moved in one column: the share of each value or range in the baseline beside that of now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from incumbent.dashboard.charts import SCHEMA

MOST = 12  # bars in pairs


def shares(changes: Sequence[Any]) -> dict[str, Any] | None:
    """Pairs of bars, those that moved most first; each of `changes` has name, reference and current. None without any.

    >>> from types import SimpleNamespace as Change
    >>> [row["share"] for row in shares([Change(name="x", reference=0.1, current=0.4)])["data"]["values"]]
    [0.1, 0.4]
    >>> shares([]) is None
    True
    """
    rows = [{"name": str(one.name), "side": side, "share": float(value)} for one in changes[:MOST]
            for side, value in (("baseline", one.reference), ("now", one.current))]
    if not rows:
        return None
    names = list(dict.fromkeys(row["name"] for row in rows))
    return {
        "$schema": SCHEMA, "width": "container", "height": {"step": 11}, "data": {"values": rows}, "mark": "bar",
        "encoding": {
            "y": {"field": "name", "type": "nominal", "title": None, "sort": names,
                  "axis": {"labelLimit": 220, "minExtent": 130}},
            "yOffset": {"field": "side", "sort": ["baseline", "now"]},
            "x": {"field": "share", "type": "quantitative", "title": "share", "axis": {"format": "%"}},
            "color": {"field": "side", "type": "nominal", "title": None, "legend": {"orient": "top"},
                      "scale": {"domain": ["baseline", "now"], "range": ["muted", "candidate"]}}}}
