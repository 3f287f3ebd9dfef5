"""The tree of metrics, as `incumbent report` prints it."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from incumbent.commands import table
from incumbent.commands.report import interval

HEAD = ("", "value", "interval", "n", "unit", "last day", "band", "")
_MARKS = {"ok": "", "good": "better than its band", "bad": "WORSE than its band", "changed": "outside its band",
          "no_data": "no band"}


def show(trees: list[dict[str, Any]], *, slices: int = 10) -> None:
    """Each surface's tree: value, interval, n, how the last whole day lies to the band of the days before it; then what
    proxies have predicted, and the worst cells."""
    console = Console(highlight=False, markup=False)
    for tree in trees:
        console.print(f"\nmetrics of {tree['surface']}, {tree['since']} to {tree['until']}", style="bold")
        for note in tree["notes"]:
            console.print(f"  {note}")
        if tree["notes"]:
            continue
        if tree["quiet_since"]:
            console.print(f"  nothing has come in since {tree['quiet_since']}")
        rows = [row for node, depth in _order(tree["nodes"]) for row in _rows(node, "  " * depth + node["name"])]
        for model in tree["models"]:
            rows.append((f"{model['name']} ({model['role']})", *[""] * 7))
            rows += [row for node in model["nodes"] for row in _rows(node, "  " + node["name"])]
        table.show(HEAD, rows, console)
        _proxies(console, tree["nodes"])
        _slices(console, [one for one in tree["slices"] if one["worst"] > 0][:slices])


def _order(nodes: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Every node under its parent, the root first, with its depth."""
    below: dict[str | None, list[dict[str, Any]]] = {}
    for node in nodes:
        below.setdefault(node["parent"], []).append(node)
    out: list[tuple[dict[str, Any], int]] = []

    def walk(name: str | None, depth: int) -> None:
        for node in below.pop(name, []):
            out.append((node, depth))
            walk(node["name"], depth + 1)

    walk(None, 0)
    for name in list(below):
        walk(name, 0)
    return out


def _rows(node: dict[str, Any], label: str) -> list[tuple[str, ...]]:
    value, band = node["value"], node["band"]
    told = band["reason"] if band["low"] is None else interval(band["low"], band["high"])
    day = "" if band["value"] is None else f"{band['value']:.5g}"
    rows: list[tuple[str, ...]] = [
        (label, "missing", "", str(value["n"]), value["reason"] or "", day, told, "") if value["value"] is None else
        (label, f"{value['value']:.5g}", interval(value["low"], value["high"]), f"{value['n']:,}", node["unit"], day,
         told, _MARKS[node["status"]])]
    young = node["corrected"]
    if young and young["value"] is not None:
        rows.append((f"{label}, young cohorts corrected", f"{young['value']:.5g}",
                     interval(young["low"], young["high"]), f"{young['n']:,}", node["unit"], "", "", "corrected"))
    return rows


def _proxies(console: Console, nodes: list[dict[str, Any]]) -> None:
    from incumbent.loop.metrics.proxies import named, unsaid

    rows = [(f"{node['name']} -> {node['parent']}", named(one), f"{one['correlation']['value']:+.2f}",
             interval(one["correlation"]["low"], one["correlation"]["high"]), str(one["points"]))
            for node in nodes for one in node["predicts"] if one["correlation"]["value"] is not None]
    if rows:
        table.show(("what predicts what", "over", "correlation", "interval", "points"), rows, console)
    for line in unsaid(nodes):
        console.print(f"  {line}")


def cell(one: dict[str, Any]) -> str:
    """What a slice is of.

    >>> cell({"by": "country", "value": "DE", "model": "new", "role": "candidate"})
    'country = DE, new (candidate)'
    """
    model = f", {one['model']} ({one['role']})" if one.get("model") else ""
    return f"{one['by']} = {one['value']}{model}"


def _slices(console: Console, slices: list[dict[str, Any]]) -> None:
    if not slices:
        console.print("  no cell is worse than it was: no loss is a discovery at 5 % among all cells and metrics")
        return
    table.show(("worst cells", "metric", "now", "before", "change", "part of the rows"), [
        (cell(one), one["metric"], f"{one['now']:.5g}", f"{one['before']:.5g}",
         interval(one["low"], one["high"]), f"{one['share']:.0%}") for one in slices], console)
