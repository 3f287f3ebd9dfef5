"""looks: when the loop measures and judges next, for whoever looks before there are numbers."""

from __future__ import annotations

from datetime import datetime, timedelta

from incumbent.config import Config
from incumbent.loop.attribute import read_cursor
from incumbent.loop.decide import Evaluation, latest
from incumbent.stores.store import Control, ExperimentRow

LATE_S = 60.0  # that a run may take before its successor counts as overdue


def unmeasured(control: Control, config: Config, now: datetime) -> str:
    """That there is nothing measured, up to when, and when it will be looked again.

    >>> from datetime import UTC
    >>> from incumbent.config import Config
    >>> from incumbent.stores.memory_control import MemoryControl
    >>> unmeasured(MemoryControl(), Config(), datetime(2026, 3, 1, tzinfo=UTC))
    'not measured yet: a running service measures every 600 s'
    """
    at, every_s = read_cursor(control).at, config.loop.attribute_s
    if at is None:
        return f"not measured yet: a running service measures every {every_s:g} s"
    return f"nothing had come in at {at:%Y-%m-%d %H:%M} UTC, when it was measured; {_next(at, every_s, config, now)}"


def unjudged(control: Control, config: Config, row: ExperimentRow, now: datetime) -> str | None:
    """That an experiment was not judged yet, and when it will be; None once a look stands on what came in since its
    start. A look before anything of it was measured found nothing, and is none."""
    looked, loop = latest(control, row.name), config.loop
    if looked is not None and not _empty(looked, row, loop.attribute_s):
        return None
    measured = max(read_cursor(control).at or row.started_at, row.started_at)
    first = row.started_at if looked is None else looked.time
    due = max(measured + timedelta(seconds=loop.attribute_s), first + timedelta(seconds=loop.decide_s))
    return f"not judged yet: {_next(due - timedelta(seconds=loop.decide_s), loop.decide_s, config, now)}"


def _empty(looked: Evaluation, row: ExperimentRow, attribute_s: float) -> bool:
    """Did a look come so soon after the start that it can have found nothing, and found nothing?"""
    asked = looked.evidence.get("answers", {}).get("asked", 0)
    return (not asked and not looked.evidence["matured"]
            and looked.time < row.started_at + timedelta(seconds=attribute_s))


def next_look(config: Config, row: ExperimentRow, looked: datetime, now: datetime) -> str | None:
    """When an experiment that runs is judged again; None for one that has ended."""
    if row.stage == "ended":
        return None
    return f"looked at {looked:%Y-%m-%d %H:%M} UTC, {_next(looked, config.loop.decide_s, config, now)}"


def _next(last: datetime, every_s: float, config: Config, now: datetime) -> str:
    """When what is done every so many seconds, and was done at `last`, is done next."""
    if config.service.clock == "replay":
        return f"next when the replay steps the loop (and every {every_s:g} s of ours)"
    due = last + timedelta(seconds=every_s)
    if now > due + timedelta(seconds=max(every_s, LATE_S)):
        return f"due since {due:%Y-%m-%d %H:%M} UTC (every {every_s:g} s): does a service run?"
    return f"next at {due:%H:%M} UTC (every {every_s:g} s)" if now < due else f"next is due now (every {every_s:g} s)"
