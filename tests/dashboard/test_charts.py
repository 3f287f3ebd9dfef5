import json

from incumbent.dashboard import charts

POINTS = [{"day": f"2026-03-{day:02}", "units": 60 * day,
           "preference": {"value": 0.1, "low": 0.1 - 1 / day, "high": 0.1 + 1 / day}} for day in range(1, 6)]


def reading(metric, worse, value, low, high, margin=0.1, status="ok"):
    return {"metric": metric, "worse": worse, "margin": margin, "status": status,
            "effect": {"value": value, "low": low, "high": high}}


def rows(spec):
    return {row["metric"]: row for row in spec["data"]["values"]}


def test_preference_holds_every_point_and_both_decision_lines():
    spec = charts.preference(POINTS, 0.02, [{"since": "2026-03-03T00:00:00+00:00", "label": "10 %"}])
    assert [row["units"] for row in spec["data"]["values"]] == [60, 120, 180, 240, 300]
    text = json.dumps(spec)
    assert '"at": 0.0' in text and '"at": 0.02' in text
    assert "10 %" in text


def test_missing_estimates_are_left_out_and_nothing_at_all_is_no_chart():
    missing = {"day": "2026-03-09", "units": 3, "preference": {"value": None, "low": None, "high": None}}
    assert len(charts.preference([*POINTS, missing], 0.02, [])["data"]["values"]) == 5
    assert charts.preference([missing], 0.02, []) is None
    assert charts.guardrails([reading("error_rate", "higher", None, None, None)]) is None


def test_harm_is_to_the_left_whatever_the_metric():
    spec = charts.guardrails([reading("revenue_per_user_day", "lower", -0.2, -0.3, -0.1),
                              reading("latency_ms", "higher", 20.0, 10.0, 30.0, margin=10.0)])
    made = rows(spec)
    assert made["revenue per user day"]["value"] == -2.0
    assert made["latency ms"]["value"] == -2.0
    assert (made["latency ms"]["low"], made["latency ms"]["high"]) == (-3.0, -1.0)


def test_a_one_sided_bound_reaches_to_the_edge_on_its_open_side():
    made = rows(charts.guardrails([reading("revenue_per_user_day", "lower", 0.05, -0.05, None),
                                   reading("error_rate", "higher", 0.05, None, 0.1)]))
    assert (made["revenue per user day"]["low"], made["revenue per user day"]["high"]) == (-0.5, charts.FAR)
    assert (made["error rate"]["low"], made["error rate"]["high"]) == (-1.0, charts.FAR)


def test_a_legend_is_told_in_the_theme_s_colour():
    values = [{"a": 1, "b": "grew"}]
    spec = {"$schema": charts.SCHEMA, "data": {"values": values}, "mark": "point", "encoding": {
        "x": {"field": "a", "type": "quantitative"}, "color": {"field": "b", "type": "nominal"}}}
    legend = charts.inline(spec).split("role-legend", 1)[1]
    assert "grew" in legend and "var(--text)" in legend and "#000" not in legend


def test_svg_is_drawn_without_a_browser_in_the_theme_s_colours():
    drawn = charts.svg(charts.preference(POINTS, 0.02, []))
    assert drawn.startswith("<svg")
    assert charts.LIGHT["candidate"] in drawn
    assert '"candidate"' not in drawn.replace("net preference for the candidate", "")
