"""The tree of metrics, as `incumbent report` prints it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from incumbent.commands.report import interval

_MARKS = {"ok": "", "good": "better than its band", "bad": "WORSE than its band", "changed": "outside its band",
          "no_data": "no band"}


def show(trees: list[dict[str, Any]], *, slices: int = 10) -> None:
    """Each surface's tree: value, interval, n, how the last whole day lies to the band of the days before it; then what
    proxies have predicted, and the worst cells."""
    console = Console()
    for tree in trees:
        console.print(f"\n[bold]metrics of {tree['surface']}[/bold], {tree['since']} to {tree['until']}",
                      highlight=False)
        for note in tree["notes"]:
            console.print(f"  {note}", highlight=False, markup=False)
        if tree["notes"]:
            continue
        table = Table("", "value", "interval", "n", "unit", "last day", "band", "", box=None)
        for node, depth in _order(tree["nodes"]):
            _row(table, node, "  " * depth + node["name"])
        for model in tree["models"]:
            table.add_row(f"{model['name']} ({model['role']})", *[""] * 7)
            for node in model["nodes"]:
                _row(table, node, "  " + node["name"])
        console.print(table)
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


def _row(table: Table, node: dict[str, Any], label: str) -> None:
    value, band = node["value"], node["band"]
    told = band["reason"] if band["low"] is None else interval(band["low"], band["high"])
    day = "" if band["value"] is None else f"{band['value']:.5g}"
    if value["value"] is None:
        table.add_row(label, "missing", "", str(value["n"]), value["reason"] or "", day, told, "")
    else:
        table.add_row(label, f"{value['value']:.5g}", interval(value["low"], value["high"]), f"{value['n']:,}",
                      node["unit"], day, told, _MARKS[node["status"]])
    young = node["corrected"]
    if young and young["value"] is not None:
        table.add_row(f"{label}, young cohorts corrected", f"{young['value']:.5g}",
                      interval(young["low"], young["high"]), f"{young['n']:,}", node["unit"], "", "", "corrected")


def _proxies(console: Console, nodes: list[dict[str, Any]]) -> None:
    from incumbent.loop.metrics.proxies import named, unsaid

    table = Table("what predicts what", "over", "correlation", "interval", "points", box=None)
    for node in nodes:
        for one in node["predicts"]:
            made = one["correlation"]
            if made["value"] is not None:
                table.add_row(f"{node['name']} -> {node['parent']}", named(one), f"{made['value']:+.2f}",
                              interval(made["low"], made["high"]), str(one["points"]))
    if table.row_count:
        console.print(table)
    for line in unsaid(nodes):
        console.print(f"  {line}", highlight=False, markup=False)


def _slices(console: Console, slices: list[dict[str, Any]]) -> None:
    if not slices:
        console.print("  no cell is worse than it was: no loss is a discovery at 5 % among all cells and metrics",
                      highlight=False)
        return
    table = Table("worst cells", "metric", "now", "before", "change", "part of the rows", box=None)
    for one in slices:
        table.add_row(f"{one['by']} = {one['value']}", one["metric"], f"{one['now']:.5g}", f"{one['before']:.5g}",
                      interval(one["low"], one["high"]), f"{one['share']:.0%}")
    console.print(table)
