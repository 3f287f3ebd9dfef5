"""`incumbent source ...`: the hosts whose sealers maturity days wait for, and leaving out one that is gone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from incumbent.commands.options import ConfigPath, Directory, Json

source = typer.Typer(no_args_is_help=True, help="The hosts whose sealers are waited for before a day is judged.")

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept for ever.")]


@source.command("list")
def list_(path: ConfigPath = None, directory: Directory = None, as_json: Json = False) -> None:
    """Each host's sealer: up to when it is done, and when it was last heard of."""
    from incumbent.commands.codes import local_parts
    from incumbent.commands.common import configured, stores
    from incumbent.loop import watermark

    with local_parts("a directory"), stores(configured(path, directory=directory)) as held:
        behind = watermark.low(held.control).source
        found = [{"source": name, "sealed_until": _told(mark.until), "heard_of": _told(mark.at),
                  "retired": mark.retired, "waited_for": name == behind}
                 for name, mark in sorted(watermark.marks(held.control).items())]
    if as_json:
        print(json.dumps(found, indent=2))
    for one in found if not as_json else ():
        state = "left out" if one["retired"] else "furthest behind" if one["waited_for"] else "counts"
        print(f"{one['source']}: sealed until {one['sealed_until'] or 'not known yet'}, heard of at {one['heard_of']}; "
              f"{state}")
    if not found and not as_json:
        print("no sealer has run yet")


@source.command("retire")
def retire(name: Annotated[str, typer.Argument(help="As `incumbent source list` shows it.")], reason: Reason,
           path: ConfigPath = None, directory: Directory = None, as_json: Json = False) -> None:
    """Wait no more for a host that is gone for good; audited. If it comes back it counts again."""
    from incumbent.commands.codes import local_parts
    from incumbent.commands.common import configured, stores
    from incumbent.commands.desk import actor
    from incumbent.events.ids import EventIds
    from incumbent.loop import watermark
    from incumbent.service.parts import clock_of

    config = configured(path, directory=directory)
    with local_parts("a directory"), stores(config) as held:
        clock = clock_of(config)
        audit = watermark.retire(held.control, EventIds(clock), name, clock.now(), actor=actor(), reason=reason)
    if as_json:
        print(json.dumps({"audit": audit.event_id, "subject": audit.subject, "details": audit.details}, indent=2))
        return
    print(f"{name} is waited for no more; what it still holds is late when it comes. Audit row {audit.event_id}")


def _told(time: datetime | None) -> Any:
    return None if time is None else time.isoformat(timespec="seconds")
