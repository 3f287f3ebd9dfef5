"""The page *Metrics*: what it says of nothing, of a tree, and how its days are drawn."""

import re
import urllib.request
from datetime import date

from incumbent.dashboard.measured import _ordered, _shown, rank_chart, sparkline


def node(name, parent, *, level="business", value=1.0, status="ok", **more):
    told = {"value": value, "low": None, "high": None, "n": 40, "method": "", "unit": "x", "se": None,
            "reason": None if value is not None else "no rows"}
    band = {"low": 0.5, "high": 1.5, "value": 1.0, "reason": None, "days": 9}
    return {"name": name, "parent": parent, "level": level, "direction": "up", "unit": "x", "value": told, "band": band,
            "status": status, "series": [(str(date(2026, 3, n)), value) for n in range(1, 9)], "corrected": None,
            "cap": None, "predicts": [], "histogram": [], **more}


def test_a_shop_without_measurements_says_so(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/measured") as answer:
        text = answer.read().decode()
    assert answer.status == 200 and "missing: not measured yet: a running service measures every 600 s" in text


def test_nodes_stand_under_their_parents_and_those_without_a_value_are_named():
    made = _ordered([node("c", "b"), node("a", None), node("b", "a"), node("z", "elsewhere")])
    assert [(one["name"], one["depth"]) for one in made] == [("a", 0), ("b", 1), ("c", 2), ("z", 0)]
    tree = {"nodes": [node("a", None), node("gone", "a", value=None, level="proxy")], "models": [], "slices": []}
    shown = _shown(tree)
    assert [level["title"] for level in shown["levels"]] == ["Business"]
    assert [one["name"] for one in shown["without"]] == ["gone"]


def test_what_predicts_what_is_told_by_attribute_and_what_cannot_be_said_is_counted():
    some, none = ({"value": value, "low": value, "high": value, "reason": why} for value, why in (
        (0.5, None), (None, "3 points, fewer than 8")))
    proxy = node("click_through", "conversion", level="proxy", predicts=[
        {"over": "cells", "by": "device", "correlation": some},
        {"over": "experiments", "by": None, "correlation": none}])
    shown = _shown({"nodes": [proxy], "models": [], "slices": []})
    assert [one["over"] for one in shown["proxies"]] == ["cells of device"]
    assert shown["unsaid"] == ["over experiments: no number for 1 of 1 (3 points, fewer than 8)"]


def test_a_sparkline_has_its_band_its_gaps_and_the_last_day():
    series = [("d1", 1.0), ("d2", 2.0), ("d3", None), ("d4", 1.5), ("d5", 9.0)]
    drawn = str(sparkline(series, {"low": 0.5, "high": 2.5}, "bad", 'a "label" <b>'))
    assert drawn.count("<polyline") == 2 and drawn.count("<rect") == 1 and 'class="bad"' in drawn
    assert "<b>" not in drawn and "style=" not in drawn
    heights = [float(y) for y in re.findall(r",([\d.]+)", drawn)]
    assert heights[-1] == min(heights) and all(0 <= y <= 30 for y in heights)
    flat = str(sparkline([("d1", 2.0), ("d2", 2.0)], {"low": None, "high": None}, "calm", "flat"))
    assert "15.0" in flat


def test_ranks_are_drawn_by_position_and_off_list_ones_are_not():
    spec = rank_chart([0, 5, 0, 2])
    assert [row["position"] for row in spec["data"]["values"]] == [1, 3] and rank_chart([0, 0]) is None


def test_a_day_without_a_value_is_not_a_day_without_a_band(desk, port, monkeypatch):
    bare = node("click_through", None, status="no_data")
    bare["band"]["value"] = None
    tree = {"surface": "home", "since": "2026-03-01", "until": "2026-03-08", "nodes": [bare], "models": [],
            "slices": [], "notes": [], "quiet_since": "2026-03-02"}
    monkeypatch.setattr(desk, "metrics", lambda surface, days: [tree])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/measured") as answer:
        text = answer.read().decode()
    assert "nothing has come in since 2026-03-02" in text
    assert ">without a value<" in text and "usual is 0.5 to 1.5" in text and "no band" not in text
