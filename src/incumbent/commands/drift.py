"""`incumbent drift ...`: the group, and what it says of a deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from incumbent.commands.drift_compare import compare
from incumbent.commands.options import ConfigPath, Directory, Json, Key, Url
from incumbent.dashboard.progress import bar

TOLD = 5  # tickets and pages of which the status says what moved

drift = typer.Typer(no_args_is_help=True, help="Drift of embeddings, items, inputs and outcomes.")


@drift.callback()
def group() -> None:
    """Drift of embeddings, items, inputs and outcomes."""


drift.command("compare")(compare)


@drift.command("status")
def status(path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
           as_json: Json = False) -> None:
    """The baseline in force, every monitor's standing and budget, and the last findings with what moved."""
    desk = _desk(path, directory, url, key)
    found = desk.drift()
    if as_json:
        print(json.dumps({**found, "findings": desk.drift_findings(None, 20)}, indent=2, default=str))
        return
    if found["baseline"] is None:
        print(found["reason"] if found["enabled"] else "drift is turned off (drift.enabled = false)")
        return
    one = found["baseline"]
    print(f"baseline {one['name']}@{one['version']}, {one['from'][:10]} to {one['to'][:10]}; "
          f"{found['false_alarms_per_month']:g} false alarms a month in all, {_together(found['multiplicity'])}")
    if found["reason"]:
        print(found["reason"])
    if found["next"] is not None:
        begun = ", ".join(f"{_moment(at)} ({group})" for group, at in found["until"].items())
        due = ", due now" if found["next"] <= found["now"] else ""
        print(f"judged up to {begun or 'nothing yet'}; next at {_moment(found['next'])} UTC{due}")
    _table(("monitor", "status", "since", "next", "by, alpha, soonest", "reason"), [
        (row["name"], row["status"] + ("" if row["open"] is None else f", {row['severity']}"),
         _moment(row["since"]), _moment((row["next"] or {}).get("at")), _by(row["budget"], found["window"]),
         row["reason"]) for row in found["monitors"]])
    for cohort in found["cohorts"]:
        final = cohort["final"]
        if final["value"] is not None:
            print(f"{cohort['stream']} {cohort['start'][:10]}: {cohort['so_far']['value']:.2%} bought so far, "
                  f"{final['value']:.2%} ({final['low']:.2%} to {final['high']:.2%}) to be expected")
    for one in found.get("before_labels", ()):
        if one["rate"]["value"] is not None:
            rate = one["rate"]
            print(f"{one['stream']} {one['start'][:10]}: {rate['value']:.2%} clicks ({rate['low']:.2%} to "
                  f"{rate['high']:.2%}), Brier loss {one['brier']['value']:.4f}, {one['method']}")
    for line in found["unwatched"]:
        print(f"unwatched: {line}")
    for finding in [one for one in desk.drift_findings(None, 100) if one["severity"] != "info"][:TOLD]:
        print(f"\n{str(finding['time'])[:16]} {finding['severity'].upper()} {finding['subject']}: "
              f"{finding['reason']}")
        print(finding.get("evidence", {}).get("explanation", {}).get("text", ""))


@drift.command("audit")
def audit(
    name: Annotated[str | None, typer.Argument(help="A baseline; the one in force where none is named.")] = None,
    version: Annotated[int | None, typer.Option("--version", min=1)] = None, path: ConfigPath = None,
    directory: Directory = None, url: Url = None, key: Key = None, as_json: Json = False,
) -> None:
    """Replay a baseline against itself: promised false alarms beside delivered ones."""
    desk = _desk(path, directory, url, key)
    with bar() as step:
        found = desk.drift_audit(name, version, progress=step)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for row in found["monitors"]:
        if not row["honoured"]:
            print(f"CANNOT HONOUR its part: {row['reason']}")
    _table(("monitor", "by", "promised a window", "delivered", "95 %", "windows", ""), [
        (row["name"], row["method"], f"{row['promised']:.3g}",
         "" if row["delivered"] is None else f"{row['delivered']['value']:.3g}",
         "" if row["delivered"] is None else f"{row['delivered']['low']:.3g} to {row['delivered']['high']:.3g}",
         str(row["judged"]), {None: row["reason"], True: "kept", False: "NOT KEPT"}[row["kept"]])
        for row in found["monitors"] if row["honoured"]])
    print(f"in all: {found['promised_per_month']:.3g} false alarms a month promised, "
          f"{found['delivered_per_month']:.3g} delivered ({found['alarms']} in {found['judged']} windows), "
          f"{_together(found['multiplicity'])}")


def _together(method: str) -> str:
    """How the alarms of one window are judged together."""
    told = {"bonferroni": "every monitor at its own alpha"}
    return told.get(method, f"the monitors of one window together by {method}")


def _moment(text: str | None) -> str:
    """A time of an answer as it is shown, in UTC: ``2026-03-01 06:00``."""
    return "" if text is None else str(text)[:16].replace("T", " ")


def _by(budget: dict[str, Any], window: str) -> str:
    """How a monitor alarms, at which alpha, and in how many windows the clearest change is told."""
    soonest = budget["soonest"]
    told = "never" if soonest is None else f"{soonest} {window}{'' if soonest == 1 else 's'}"
    return f"{budget['method']}, {budget['alpha']:.2g}, {told}"


def _desk(path: Path | None, directory: Path | None, url: str | None, key: str | None) -> Any:
    from incumbent.commands.desk import desk

    return desk(path, directory, url, key)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from incumbent.commands.table import show

    show(head, rows)
