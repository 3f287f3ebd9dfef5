"""`incumbent check`: the contract suites over every registered implementation."""

from __future__ import annotations

import json

import typer

from incumbent import registry


def check(names: list[str], as_json: bool) -> int:
    """Run suites by name, all where none is named; 0 where every law holds or is excused.

    ``SUITE:IMPLEMENTATION`` asks one implementation alone: ``states:moments``, ``models:my_shop.models:MyModel``.
    """
    results = {}
    for name in names or registry.names("checks"):
        suite, colon, implementation = name.partition(":")
        results[name] = registry.load("checks", suite)([implementation] if colon else None)
    failed = sum(not result.ok for group in results.values() for result in group)
    if as_json:
        typer.echo(json.dumps({"failed": failed, "suites": {
            name: [{"subject": r.subject, "law": r.law, "ok": r.ok, "excused": r.excused, "skipped": r.skipped,
                    "message": r.message} for r in group] for name, group in results.items()}}, indent=2))
    else:
        for name, group in results.items():
            typer.echo(f"{name}: {len(group)} laws asked")
            for result in group:
                typer.echo(f"  {result}")
        typer.echo("every law holds" if not failed else f"{failed} broken")
    return 1 if failed else 0
