"""The page *Metrics*: the tree of every surface with its days and bands, what predicts what, and the worst cells."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.dashboard.charts import SCHEMA
from incumbent.loop import looks
from incumbent.loop.metrics.proxies import named, unsaid
from incumbent.stores.store import Stores

WIDTH, HEIGHT, EDGE = 132, 30, 3
#: what a level of the tree is called
LEVELS = {"business": "Business", "proxy": "Proxies: what shoppers do to what they see",
          "quality": "Quality of the lists", "response": "The response", "health": "The service"}
STATUS = {"good": ("good", "better"), "bad": ("bad", "worse"), "changed": ("warn", "changed"), "ok": ("calm", "usual"),
          "no_data": ("calm", "no band")}


class Desk(Protocol):
    """What this page asks."""

    config: Config
    stores: Stores
    clock: Clock

    def metrics(self, surface: str | None = None, days: int = 7) -> list[dict[str, Any]]: ...


def add(router: APIRouter, desk: Desk, guarded: Any) -> None:
    """Add the page; `guarded` renders a template, or the page that says why there is none."""

    def measured(days: Annotated[int, Query(ge=1, le=90)] = 7) -> HTMLResponse:
        def make() -> dict[str, Any]:
            trees = [_shown(tree) for tree in desk.metrics(None, days)]
            if any(tree["notes"] for tree in trees):
                waits = looks.unmeasured(desk.stores.control, desk.config, desk.clock.now())
                trees = [{**tree, "notes": [waits] if tree["notes"] else []} for tree in trees]
            return {"trees": trees, "days": days}

        shown: HTMLResponse = guarded("measured.html", make)
        return shown

    router.add_api_route("/measured", measured)


def _shown(tree: dict[str, Any]) -> dict[str, Any]:
    """A tree as the page draws it: nodes by level, each under its parent; metrics without any value are named last."""
    known = [node for node in tree["nodes"] if _known(node)]
    levels = [{"title": title, "nodes": _ordered([_node(node) for node in known if node["level"] == level])}
              for level, title in LEVELS.items()]
    models = [{"name": one["name"], "role": one["role"], "nodes": [_node(node) for node in one["nodes"]]}
              for one in tree["models"]]
    ranks: list[int] = next((node["histogram"] for node in tree["nodes"] if node["histogram"]), [])
    return {**tree, "levels": [level for level in levels if level["nodes"]], "models": models,
            "without": [node for node in tree["nodes"] if not _known(node)], "ranks": rank_chart(ranks),
            "proxies": _proxies(known), "unsaid": unsaid(known),
            "worst": [one for one in tree["slices"] if one["now"] is not None][:20]}


def _known(node: dict[str, Any]) -> bool:
    return node["value"]["value"] is not None or any(value is not None for _, value in node["series"])


def _node(node: dict[str, Any]) -> dict[str, Any]:
    tone, said = STATUS[node["status"]]
    if node["band"]["low"] is not None and node["band"]["value"] is None:
        said = "without a value"
    label = f"{node['name']}: {len([1 for _, value in node['series'] if value is not None])} days, the last one {said}"
    return {**node, "tone": tone, "said": said, "spark": sparkline(node["series"], node["band"], tone, label),
            "depth": 0}


def _ordered(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes of a level, each behind its parent where that is of the same level."""
    names = {node["name"] for node in nodes}
    out: list[dict[str, Any]] = []

    def walk(parent: str | None, depth: int) -> None:
        for node in nodes:
            root = node["parent"] not in names
            if (parent is None and root) or (parent is not None and node["parent"] == parent):
                out.append({**node, "depth": min(depth, 3)})
                walk(node["name"], depth + 1)

    walk(None, 0)
    return out


def _proxies(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What can be said of proxies, the strongest first."""
    found = [{"proxy": node["name"], "parent": node["parent"], **one, "over": named(one)} for node in nodes
             for one in node["predicts"] if one["correlation"]["value"] is not None]
    return sorted(found, key=lambda one: -abs(one["correlation"]["value"]))[:20]


def sparkline(series: list[Any], band: dict[str, Any], tone: str, label: str) -> Markup:
    """The days of a metric as a line over its band, the last whole day as a dot; missing days are gaps.

    >>> sparkline([("2026-03-01", None), ("2026-03-02", None)], {"low": None, "high": None}, "calm", "x")
    Markup('')
    """
    values = [value for _, value in series]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup("")
    ends = [end for end in (band["low"], band["high"]) if end is not None]
    low, high = min([*known, *ends]), max([*known, *ends])
    room = (high - low) or abs(high) or 1.0

    def x(at: int) -> float:
        return EDGE + (WIDTH - 2 * EDGE) * at / max(len(values) - 1, 1)

    def y(value: float) -> float:
        return HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / room if high > low else HEIGHT / 2

    parts = []
    if len(ends) == 2:
        top, bottom = y(ends[1]), y(ends[0])
        parts.append(f'<rect class="band" x="{EDGE}" y="{top:.1f}" width="{WIDTH - 2 * EDGE}" '
                     f'height="{max(bottom - top, 1):.1f}"/>')
    runs: list[list[str]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{x(at):.1f},{y(value):.1f}")
    parts += [f'<polyline points="{" ".join(run)}"/>' for run in runs if run]
    last = max(at for at, value in enumerate(values) if value is not None)
    parts.append(f'<circle class="{tone}" cx="{x(last):.1f}" cy="{y(values[last]):.1f}" r="2.6"/>')
    return Markup('<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">').format(
        WIDTH, HEIGHT, WIDTH, HEIGHT, label) + Markup("".join(parts)) + Markup("</svg>")


def rank_chart(histogram: list[int]) -> dict[str, Any] | None:
    """Where on the list clicks fall; None without clicks."""
    rows = [{"position": at, "clicks": count} for at, count in enumerate(histogram) if at and count]
    if not rows:
        return None
    return {"$schema": SCHEMA, "width": "container", "height": 160, "data": {"values": rows},
            "description": "Clicks by the position of the clicked item",
            "mark": {"type": "bar", "color": "candidate", "opacity": 0.8}, "encoding": {
                "x": {"field": "position", "type": "ordinal", "title": "position", "axis": {
                    "labelAngle": 0, "labelOverlap": True}},
                "y": {"field": "clicks", "type": "quantitative", "title": "clicks", "axis": {"tickMinStep": 1}},
                "tooltip": [{"field": "position", "type": "ordinal"}, {"field": "clicks", "type": "quantitative"}]}}
