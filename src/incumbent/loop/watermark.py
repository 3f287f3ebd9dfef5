"""watermark: up to when everything that was acknowledged is in the lake, as the sealers say it through Control.

Each source (the inboxes of one host) has a mark, written by its sealer after each run. The low watermark is the least
of them: a maturity day is judged only once it has passed. A source that stays silent while others go on is left out
after `SILENT_DAYS`, with a finding; when its sealer comes back it counts again, and what it brings is late. While all
are silent nobody is missed: after an outage of all, the days count from the first of them that is back. Who knows that
a host is gone for good need not wait: `retire` leaves it out by hand, audited.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from incumbent.errors import ConflictError, DataError, NotFoundError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit, Finding
from incumbent.loop.enact import told
from incumbent.stores.store import Control

PREFIX = "seal/"
SILENT_DAYS = 7.0
ALIVE = timedelta(minutes=10)  # a source that spoke as lately is not gone
BREAK = timedelta(days=1)  # a silence as long begins a source anew: the others may have been down as long


class Mark(Struct, frozen=True, omit_defaults=True):
    """What one sealer says of its source: `until` is None where it has not seen the end of every inbox yet."""

    until: datetime | None
    at: datetime  # when it last said so
    retired: bool = False
    since: datetime | None = None  # it has said so without a break since then; None: since `at`


class Low(Struct, frozen=True):
    """The low watermark: None while a source has none, or while nobody seals; `source` is the one that is behind."""

    until: datetime | None = None
    source: str | None = None


def announce(control: Control, source: str, now: datetime) -> None:
    """Make a source known before its first run ends, so that nothing is judged without it."""
    if control.cursor(PREFIX + source) is None:
        _write(control, source, Mark(None, now))


def record(control: Control, source: str, until: datetime | None, now: datetime) -> None:
    """Everything that this source acknowledged before `until` is in the lake; None leaves what was said before."""
    if until is None:
        return
    text = control.cursor(PREFIX + source)
    before = msgspec.json.decode(text, type=Mark) if text is not None else None
    unbroken = before is not None and now - before.at < BREAK
    _write(control, source, Mark(until, now, since=(before.since or before.at) if before and unbroken else now))


def low(control: Control) -> Low:
    """The least mark of the sources that count.

    >>> from datetime import UTC
    >>> from incumbent.stores.memory_control import MemoryControl
    >>> control, now = MemoryControl(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> low(control)
    Low(until=None, source=None)
    >>> record(control, "a", now, now)
    >>> record(control, "b", now - timedelta(hours=1), now)
    >>> low(control).source, low(control).until.hour
    ('b', 11)
    """
    counting = {source: mark for source, mark in marks(control).items() if not mark.retired}
    source = min(counting, key=lambda name: (_when(counting[name]), name), default=None)
    return Low() if source is None else Low(counting[source].until, source)


def marks(control: Control) -> dict[str, Mark]:
    """What each source's sealer said last."""
    return {name.removeprefix(PREFIX): msgspec.json.decode(text, type=Mark)
            for name, text in control.cursors(PREFIX).items()}


def retire_silent(control: Control, ids: EventIds, now: datetime, *, silent_days: float = SILENT_DAYS) -> list[str]:
    """Leave out the sources that said nothing for so long while another did, each with a finding; their names.

    The only source is never left out: where sealing stands still, judging does. Nor is one whose silence is that of
    all: it counts from when the first of the others was back.
    """
    oldest = now - timedelta(days=silent_days)
    counting = {source: mark for source, mark in marks(control).items() if not mark.retired}
    back = min((mark.since or mark.at for mark in counting.values() if mark.at >= oldest), default=now)
    silent = [source for source, mark in counting.items() if max(mark.at, back) < oldest]
    for source in silent:
        mark = counting[source]
        told(control, Finding(
            event_id=ids.new(), time=now, subject=f"source:{source}", check="sealing", status="no_data",
            severity="ticket", reason=f"its sealer was last heard of at {mark.at:%Y-%m-%d %H:%M}; maturity days no "
            "longer wait for it, and what it still holds is late: restated, never judged",
            evidence={"until": mark.until, "at": mark.at}),
            cursor=(PREFIX + source, _encoded(msgspec.structs.replace(mark, retired=True))))
    return silent


def retire(control: Control, ids: EventIds, source: str, now: datetime, *, actor: str, reason: str) -> Audit:
    """Leave a source out by hand, because its host is gone for good; the audit row is stored with it.

    `DataError` without an actor or a reason, `NotFoundError` for a source that nobody knows, `ConflictError` for one
    that is left out already, that spoke in the last ten minutes, or that is the only one: nobody would be judged.
    """
    for field, text in (("actor", actor), ("reason", reason)):
        if not text.strip():
            raise DataError(f"retiring a source needs a {field}", got=text, field=field,
                            hint="it is what somebody reads a year from now")
    known = marks(control)
    mark = known.get(source)
    if mark is None:
        raise NotFoundError("no such source", got=source, expected=", ".join(sorted(known)) or "none has sealed yet")
    if mark.retired:
        raise ConflictError("the source is left out already", got=source)
    if now - mark.at < ALIVE:
        raise ConflictError("the source is alive", got=f"{source}, last heard of at {mark.at:%Y-%m-%d %H:%M}",
                            hint="stop its loop first: a source that speaks counts")
    if all(other.retired for name, other in known.items() if name != source):
        raise ConflictError("the only source cannot be left out", got=source,
                            hint="without one nothing is judged; start another first")
    audit = Audit(event_id=ids.new(), time=now, actor=actor.strip(), action="source.retire",
                  subject=f"source:{source}", reason=reason.strip(),
                  details={"until": None if mark.until is None else mark.until.isoformat(), "at": mark.at.isoformat()})
    told(control, audit, cursor=(PREFIX + source, _encoded(msgspec.structs.replace(mark, retired=True))))
    return audit


def _when(mark: Mark) -> float:
    return float("-inf") if mark.until is None else mark.until.timestamp()


def _write(control: Control, source: str, mark: Mark) -> None:
    control.set_cursor(PREFIX + source, _encoded(mark))


def _encoded(mark: Mark) -> str:
    return msgspec.json.encode(mark).decode()
