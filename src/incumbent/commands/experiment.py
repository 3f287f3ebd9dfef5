"""`incumbent experiment ...`."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from incumbent.commands.desk import AnyDesk, actor
from incumbent.errors import DataError


def show_list(desk: AnyDesk, as_json: bool) -> None:
    """One line an experiment."""
    found = desk.experiments()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        print("no experiments; configure one under [experiments.NAME]")
        return
    table = Table("experiment", "surface", "candidate", "stage", "share", "verdict", "you can", box=None)
    for one in found:
        stage = (one["stage"] or "not started") + (", held" if one["held"] else "")
        share = "" if one["share"] is None else f"{one['share']:.0%}"
        allowed = ", ".join(step.replace("_", "") for step in one["steps"])
        table.add_row(one["name"], one["surface"], one["candidate"], stage, share, one["verdict"] or "", allowed)
    Console().print(table)
    for one in found:
        if one.get("unserved"):
            print(f"{one['name']} is not served: {one['unserved']}")
        if one.get("unjudged"):
            print(f"{one['name']} cannot be judged: {one['unjudged']}")


def show_one(desk: AnyDesk, name: str, as_json: bool) -> None:
    """Stage, evaluation, stages and decisions of one experiment."""
    found = desk.experiment(name)
    if as_json:
        print(json.dumps(found, indent=2, default=str))
        return
    stage = (found["stage"] or "not started") + (", held" if found["held"] else "")
    print(f"{name}: {found['candidate']} against the champion of {found['surface']}; {stage}")
    if found.get("unserved"):
        print(f"not served: {found['unserved']}; shoppers see the champion alone")
    if found.get("unjudged"):
        print(f"cannot be judged: {found['unjudged']}; nothing advances, promotes or rolls back by itself")
    for change in found["stages"]:
        print(f"  {_day(change['since'])}  {change['stage']}, share {change['share']:.0%}")
    looked = found["evaluation"]
    if looked is not None:
        print(f"latest look {looked['time']}: {looked['verdict'].upper()}. {looked['reason']}")
    print("decisions, newest first:" if found["decisions"] else "no decisions yet")
    for decision in found["decisions"]:
        stated = decision.get("evidence", {}).get("on_behalf_of")
        by = decision["by"] + (f" for {stated}" if stated else "")
        print(f"  {_day(decision['time'])}  {decision['verdict'].upper():12} by {by}: {decision['reason']}")


def take_step(desk: AnyDesk, name: str, step: str, reason: str, as_json: bool) -> None:
    """One step by hand, and what came of it."""
    if not reason.strip():
        raise DataError("a step by hand needs a reason", got=reason, field="--reason",
                        hint="it is what somebody reads a year from now")
    decision = desk.step(name, step, actor=actor(), reason=reason)
    if as_json:
        print(json.dumps(decision, indent=2, default=str))
        return
    print(f"{name}: {step} taken; stage {decision.get('stage_to')}. A running service follows within a second or two.")


def _day(time: Any) -> str:
    return str(time)[:16].replace("T", " ")
