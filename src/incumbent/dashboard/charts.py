"""Charts as Vega-Lite specifications: the page renders them in the browser, reports and mails as SVG by vl-convert.

Colours are names that the page's theme resolves (``champion``, ``candidate``, ``good``, ``bad`` ...), so that one
specification serves light and dark.
"""

from __future__ import annotations

from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def preference(series: list[dict[str, Any]], delta_min: float, stages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Net preference after each maturity day with its confidence sequence, the decision lines and the stages.

    The candidate is promoted only while the whole band lies above 0, and discarded once it lies below `delta_min`.
    None where nothing has matured.
    """
    rows = [{"day": point["day"], "units": point["units"], "value": estimate["value"], "low": estimate["low"],
             "high": estimate["high"]}
            for point in series if (estimate := point["preference"])["value"] is not None]
    if not rows:
        return None
    first, last = rows[0]["day"], rows[-1]["day"]
    marks = [{"day": stage["since"][:10], "label": stage["label"]} for stage in stages
             if first <= stage["since"][:10] <= last]
    x = {"field": "day", "type": "temporal", "title": None, "axis": {
        "format": "%d %b", "grid": False, "labelOverlap": True, "tickCount": {"interval": "day", "step": 1}}}
    share = {"type": "quantitative", "axis": {"format": "+.0%"}}
    return {
        "$schema": SCHEMA, "width": "container", "height": 280, "data": {"values": rows},
        "description": "Net preference over time with its confidence sequence",
        "layer": [
            {"mark": {"type": "area", "opacity": 0.22, "color": "candidate", "clip": True},
             "encoding": {"x": x, "y": {"field": "low", **share, "title": "net preference for the candidate"},
                          "y2": {"field": "high"}}},
            {"mark": {"type": "line", "color": "candidate", "strokeWidth": 2.5,
                      "point": {"size": 24, "color": "candidate"}},
             "encoding": {"x": x, "y": {"field": "value", **share}, "tooltip": [
                 {"field": "day", "type": "temporal", "title": "matured by", "format": "%d %b %Y"},
                 {"field": "units", "type": "quantitative", "title": "users", "format": ","},
                 {"field": "value", "type": "quantitative", "title": "net preference", "format": "+.2%"},
                 {"field": "low", "type": "quantitative", "title": "low", "format": "+.2%"},
                 {"field": "high", "type": "quantitative", "title": "high", "format": "+.2%"}]}},
            _rule(0.0, "PROMOTE: the whole band above 0", "text", [1, 0], True),
            _rule(delta_min, f"DISCARD: the whole band below {delta_min:+.1%}", "bad", [5, 4], False),
            *_stage_marks(marks, x),
        ],
    }


def _rule(at: float, label: str, colour: str, dash: list[int], left: bool) -> dict[str, Any]:
    y = {"field": "at", "type": "quantitative"}
    return {"data": {"values": [{"at": at, "label": label}]},
            "layer": [
                {"mark": {"type": "rule", "color": colour, "strokeDash": dash, "opacity": 0.75}, "encoding": {"y": y}},
                {"mark": {"type": "text", "align": "left" if left else "right", "x": 0 if left else "width",
                          "dx": 4 if left else -4, "dy": -7, "fontSize": 11, "color": colour},
                 "encoding": {"y": y, "text": {"field": "label"}}},
            ]}


def _stage_marks(marks: list[dict[str, Any]], x: dict[str, Any]) -> list[dict[str, Any]]:
    if not marks:
        return []
    return [{"data": {"values": marks},
             "layer": [
                 {"mark": {"type": "rule", "color": "muted", "strokeDash": [2, 3]}, "encoding": {"x": x}},
                 {"mark": {"type": "text", "align": "left", "dx": 4, "y": 8, "fontSize": 11, "color": "muted"},
                  "encoding": {"x": x, "text": {"field": "label"}}}]}]


def guardrails(readings: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Every guardrail's effect over its margin with its interval, so that -1 is the loss that is just tolerated.

    Harm is to the left for every metric. None where no guardrail has a number.
    """
    rows = []
    for reading in readings:
        effect = reading["effect"]
        if effect["value"] is None:
            continue
        sign = 1.0 if reading["worse"] == "lower" else -1.0
        ends = sorted(sign * end / reading["margin"] for end in (effect["low"], effect["high"]) if end is not None)
        value = sign * effect["value"] / reading["margin"]
        rows.append({"metric": reading["metric"].replace("_", " "), "status": reading["status"],
                     "value": _clip(value), "low": _clip(ends[0] if _has_low(effect, sign) else -FAR),
                     "high": _clip(ends[-1] if _has_high(effect, sign) else FAR)})
    if not rows:
        return None
    y = {"field": "metric", "type": "nominal", "title": None, "axis": {"labelLimit": 200, "grid": False}}
    scale = {"domain": [-FAR, FAR], "clamp": True}
    colour = {"field": "status", "type": "nominal", "legend": None, "scale": {
        "domain": ["ok", "unclear", "harm", "missing"], "range": ["good", "warn", "bad", "muted"]}}
    return {
        "$schema": SCHEMA, "width": "container", "height": {"step": 44}, "data": {"values": rows},
        "description": "Guardrails: effect over margin with intervals",
        "layer": [
            {"data": {"values": [{"at": -1}]}, "mark": {"type": "rule", "color": "bad", "strokeDash": [5, 4]},
             "encoding": {"x": {"field": "at", "type": "quantitative", "scale": scale}}},
            {"data": {"values": [{"at": 0}]}, "mark": {"type": "rule", "color": "text", "opacity": 0.6},
             "encoding": {"x": {"field": "at", "type": "quantitative"}}},
            {"mark": {"type": "rule", "strokeWidth": 3}, "encoding": {
                "y": y, "color": colour,
                "x": {"field": "low", "type": "quantitative", "scale": scale,
                      "title": "worse  ←  effect / margin  →  better"},
                "x2": {"field": "high"}}},
            {"mark": {"type": "point", "filled": True, "size": 70}, "encoding": {
                "y": y, "color": colour, "x": {"field": "value", "type": "quantitative"},
                "tooltip": [{"field": "metric"}, {"field": "status"},
                            {"field": "value", "type": "quantitative", "format": "+.2f", "title": "effect / margin"}]}},
        ],
    }


FAR = 4.0


def _clip(value: float) -> float:
    return max(-FAR, min(FAR, value))


def _has_low(effect: dict[str, Any], sign: float) -> bool:
    return effect["low" if sign > 0 else "high"] is not None


def _has_high(effect: dict[str, Any], sign: float) -> bool:
    return effect["high" if sign > 0 else "low"] is not None


#: the theme of charts that leave the page (SVG, PNG); the page resolves the same names from its style sheet
LIGHT = {"text": "#1d2433", "muted": "#667085", "champion": "#7a5cbf", "candidate": "#0b7a75", "good": "#1a7f4b",
         "warn": "#b26a00", "bad": "#c0362c", "grid": "#e4e7ec"}


def themed(spec: Any, colours: dict[str, str]) -> Any:
    """A specification with its colour names resolved."""
    if isinstance(spec, dict):
        return {key: colours.get(value, value) if key == "color" and isinstance(value, str) else
                [colours.get(v, v) for v in value] if key == "range" and isinstance(value, list) else
                themed(value, colours) for key, value in spec.items()}
    return [themed(item, colours) for item in spec] if isinstance(spec, list) else spec


def config(colours: dict[str, str]) -> dict[str, Any]:
    """The chart's frame in a set of colours."""
    axis = {"labelColor": colours["muted"], "titleColor": colours["muted"], "domainColor": colours["grid"],
            "tickColor": colours["grid"], "gridColor": colours["grid"], "titleFontWeight": "normal"}
    return {"background": None, "font": "system-ui, sans-serif", "axis": axis,
            "legend": {"labelColor": colours["text"], "titleColor": colours["text"]}, "view": {"stroke": None}}


def svg(spec: dict[str, Any], width: int = 760) -> str:
    """A chart as SVG, for reports and mail."""
    import vl_convert

    plain = {**themed(spec, LIGHT), "width": width, "config": config(LIGHT) | {"background": "#ffffff"}}
    return str(vl_convert.vegalite_to_svg(plain))


def inline(spec: dict[str, Any], width: int = 760) -> str:
    """A chart as SVG for a page that carries the style sheet: its colours are the sheet's, so light and dark both hold.
    """
    import vl_convert

    plain = {**themed(spec, LIGHT), "width": width, "config": config(LIGHT)}
    drawn = str(vl_convert.vegalite_to_svg(plain))
    for name, colour in LIGHT.items():
        drawn = drawn.replace(f'"{colour}"', f'"var(--{name})"')
    return drawn
