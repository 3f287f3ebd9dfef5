"""`incumbent report`."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console

from incumbent.commands import table

HEAD = ("", "value", "interval", "n", "unit")


def show(report: dict[str, Any], as_json: bool) -> None:
    """The report as tables, a section each, under whatever is not well; missing numbers with their reason. The methods
    stand in the JSON."""
    if as_json:
        print(json.dumps(report, indent=2, default=str))
        return
    console = Console(highlight=False, markup=False)  # null[session_id] is a name, no style
    for one in report.get("health", ()):
        if not one["ok"]:
            console.print(f"NOT WELL {one['name']}: {one['text']}")
    console.print(f"{report['since']} to {report['until']}, 95 % intervals")
    for section in report["sections"]:
        console.print(f"\n{section['title']}", style="bold")
        rows = [(line["name"], "missing", "", str(line["n"]), line["reason"] or "") if line["value"] is None else
                (line["name"], f"{line['value']:.5g}", interval(line["low"], line["high"]), f"{line['n']:,}",
                 line["unit"]) for line in section["lines"]]
        if rows:
            table.show(HEAD, rows, console)
        for note in section["notes"]:
            console.print(f"  {note}")


def interval(low: float | None, high: float | None) -> str:
    """An interval as people read it.

    >>> interval(0.1, 0.25), interval(None, 2), interval(None, None), interval(float("-inf"), float("inf"))
    ('[0.1, 0.25]', '[-inf, 2]', '', 'too few')
    """
    if low is None and high is None:
        return ""
    if low == -math.inf and high == math.inf:
        return "too few"
    return f"[{'-inf' if low is None else f'{low:.5g}'}, {'inf' if high is None else f'{high:.5g}'}]"
