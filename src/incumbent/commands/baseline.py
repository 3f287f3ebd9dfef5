"""`incumbent baseline ...`: build, list, show and pin what drift is judged against."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from incumbent.commands.options import ConfigPath, Directory, Json, Key, Url
from incumbent.dashboard.progress import bar

baseline = typer.Typer(no_args_is_help=True, help="Build and pin what drift is judged against.")

Day = Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day.")]
LastDay = Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day, included.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept for ever.")]
Version = Annotated[int | None, typer.Option("--version", min=1, help="The newest where it is not given.")]
Name = Annotated[str, typer.Argument(help="The baseline's name.")]


@baseline.command("build")
def build(
    first: Day, last: LastDay, reason: Reason,
    name: Annotated[str, typer.Option("--name", help="A second one of a name is its next version.")] = "baseline",
    leave_out_unstable: Annotated[bool, typer.Option(
        "--leave-out-unstable", help="Leave out streams whose own windows disagree, rather than refuse.")] = False,
    path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None, as_json: Json = False,
) -> None:
    """Fit, count and check a baseline from a period; the first one is in force at once."""
    desk, actor = _desk(path, directory, url, key)
    with bar() as step:
        made = desk.build_baseline(first.date(), last.date(), name, actor=actor, reason=reason,
                                   leave_out_unstable=leave_out_unstable, progress=step)
    _show(made, as_json)
    if not as_json and not made["in_force"]:
        print(f'not in force yet: incumbent baseline pin {made["name"]} --version {made["version"]} --reason "..."')


@baseline.command("list")
def list_all(path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
             as_json: Json = False) -> None:
    """All baselines; the one in force is marked."""
    desk, _ = _desk(path, directory, url, key)
    found = desk.baselines()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        print('no baselines; incumbent baseline build --from DAY --to DAY --reason "..."')
    for one in found:
        print(f"{'*' if one['in_force'] else ' '} {_line(one)}")


@baseline.command("show")
def show(name: Name, version: Version = None, path: ConfigPath = None, directory: Directory = None, url: Url = None,
         key: Key = None, as_json: Json = False) -> None:
    """What a baseline holds of every stream, and what it is pinned to."""
    desk, _ = _desk(path, directory, url, key)
    _show(desk.baseline(name, version), as_json)


@baseline.command("pin")
def pin(name: Name, reason: Reason, version: Version = None, path: ConfigPath = None, directory: Directory = None,
        url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Put a baseline in force."""
    desk, actor = _desk(path, directory, url, key)
    _show(desk.pin_baseline(name, version, actor=actor, reason=reason), as_json)


def _desk(path: Path | None, directory: Path | None, url: str | None, key: str | None) -> tuple[Any, str]:
    from incumbent.commands.desk import actor, desk

    return desk(path, directory, url, key), actor()


def _line(one: dict[str, Any]) -> str:
    window = "an hour" if one["window"] == "hour" else f"a {one['window']}"
    return (f"{one['name']}@{one['version']}  {one['from'][:16]} to {one['to'][:16]}, {one['windows']} windows of "
            f"{window} ({one['time_zone']})")


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    from incumbent.commands.table import show

    print(_line(found) + (", in force" if found["in_force"] else ""))
    show(("stream", "kind", "season", "windows", "in the null", "rows", "its own windows"), [
        (one["stream"], one["kind"], one["season"], str(one["windows"]), str(one["held"]), f"{one['rows']:,}",
         one["agreement"]) for one in found["streams"]])
    for what in ("models", "spaces"):
        for name, versions in found[what].items():
            print(f"{what[:-1]} {name}: version {', '.join(versions) or 'any'}")
    for what, stated in (("left_out", "left out"), ("unstable", "unstable, left out")):
        for name, why in found[what].items():
            print(f"{stated}: {name}: {why}")
