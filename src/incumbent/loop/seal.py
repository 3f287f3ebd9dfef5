"""Seal: what has arrived goes into the lake, segment by segment, and only then leaves the inboxes.

Every step can be repeated: a segment is handed out again until it is released, and the lake takes it once. So a crash
at any moment loses nothing and counts nothing twice. What cannot be read goes to quarantine and holds nothing up.
Each run tells Control up to when all that was acknowledged is in the lake (`watermark`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.errors import DataError
from incumbent.events import codec
from incumbent.events.ids import id_time
from incumbent.events.schema import Event
from incumbent.loop import watermark
from incumbent.stores.columns import refusal
from incumbent.stores.store import Control, Lake, Lease, Log, Quarantined, Record, Segment

LEASE = "seal"
LOST = "the lease went to another process"
_quarantined = msgspec.msgpack.Decoder(Quarantined)


class Sealed(Struct, frozen=True):
    """What one run did.

    `reason` says why it did not seal everything that was there when it began, None where it did.
    """

    segments: int = 0
    records: int = 0  # taken out of the inboxes
    rows: int = 0  # that the lake did not have
    quarantined: int = 0  # records that the sealer itself could not read
    reason: str | None = None


class Sealer:
    """Drains the inboxes of a directory into the lake; one at a time, under the lease `seal`.

    `log` is a Log that sees all inboxes (an `EmbeddedLog` opened with ``write=False`` adopts those of dead processes).
    `limit` is the most records of one segment, so the most that one commit holds in memory: small appends are sealed
    together, up to that. `max_segments` bounds one run, which also ends once it meets an inbox again that it had
    emptied: under steady traffic none would end, each commit smaller than the one before. `taken` is told the events of
    every segment that the lake has and the log has released (after a crash maybe twice): what is shown live is counted
    there.

    >>> from incumbent.clock import EPOCH, ManualClock
    >>> Sealed(segments=1, records=3, rows=2).rows
    2
    """

    def __init__(self, log: Log, lake: Lake, control: Control, clock: Clock, *, holder: str, lease_s: float = 30.0,
                 limit: int = 50_000, max_segments: int = 1_000,
                 taken: Callable[[Sequence[Any]], None] | None = None) -> None:
        self._log = log
        self._lake = lake
        self._control = control
        self._clock = clock
        self._holder = holder
        self._lease_s = lease_s
        self._limit = limit
        self._max_segments = max_segments
        self._taken = taken

    def run_once(self) -> Sealed:
        """Seal what is there. Raises `StoreError` where the lake or an inbox refuses: nothing of it is lost, and the
        next run goes on with the same segment."""
        if self._lease() is None:
            return Sealed(reason="another process holds the lease")
        watermark.announce(self._control, self._log.source, self._clock.now())
        done = self._run()
        if done.reason != LOST:
            watermark.record(self._control, self._log.source, self._log.drained_until, self._clock.now())
        return done

    def _run(self) -> Sealed:
        done = Sealed()
        emptied, behind = set[str](), set[str]()  # writers whose inbox was emptied, and those that had more
        for _ in range(self._max_segments):
            segment = self._log.drain(self._limit)
            if segment is None:
                return done
            again = segment.writer in emptied
            if self._log.left > 0:
                behind.add(segment.writer)
            else:
                emptied.add(segment.writer)
                behind.discard(segment.writer)
            events, rows = self._commit(segment)
            if self._lease() is None:  # the lake has the segment: whoever seals now finds that out and releases it
                return msgspec.structs.replace(done, reason=LOST)
            self._log.release(segment)
            unreadable = sum(isinstance(event, Quarantined) and event.source == "sealer" for event in events)
            done = Sealed(done.segments + 1, done.records + len(segment.records), done.rows + rows,
                          done.quarantined + unreadable)
            if self._taken is not None:
                self._taken(events)
            if again and not behind:  # inboxes take turns: all that was there at the start is in the lake
                return done
        return msgspec.structs.replace(done, reason=f"there is more than {self._max_segments} segments")

    def stop(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        lease = self._lease()
        if lease is not None:
            self._control.give_back(lease)

    def _lease(self) -> Lease | None:
        """The lease, renewed, or taken again where it ran out while the lake was busy; None while another holds it.

        Taken again it has a higher token, and still what was just committed may be released: the lake had it once,
        whoever else sealed in between, and to release a segment twice does nothing.
        """
        return self._control.acquire(LEASE, self._holder, self._lease_s, self._clock.now())

    def _commit(self, segment: Segment) -> tuple[list[Event | Quarantined], int]:
        """Commit a segment; its events as they were kept, and the rows that were new."""
        now = self._clock.now()
        events = [decoded(record, now) for record in segment.records]
        try:
            commit = self._lake.commit(events, segment.writer, segment.sequence)
        except DataError:  # raised before anything is written, for events that decode but do not fit
            events = [_fitting(event, record, now) for event, record in zip(events, segment.records, strict=True)]
            commit = self._lake.commit(events, segment.writer, segment.sequence)
        return events, commit.rows


def decoded(record: Record, now: datetime) -> Event | Quarantined:
    """The event of a record, or the record quarantined with the reason."""
    try:
        if record.table == "quarantine":
            return _quarantined.decode(record.data)
        return codec.decode(record.data)
    except (DataError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        return quarantined(record, str(error), now)


def quarantined(record: Record, reason: str, now: datetime) -> Quarantined:
    """A record that is no event, kept as it came; its time is that of its id, so that it is the same at every try."""
    try:
        time = id_time(record.event_id)
    except ValueError:
        time = now
    return Quarantined(record.event_id, time, record.data, reason, source="sealer", user_id=_user(record.data))


def _fitting(event: Any, record: Record, now: datetime) -> Event | Quarantined:
    reason = refusal(event)
    return event if reason is None else quarantined(record, reason, now)


def _user(data: bytes) -> str | None:
    """The user id in a message that is no event, where it can be read at all."""
    try:
        plain = msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    user = plain.get("user_id") if isinstance(plain, dict) else None
    return user if isinstance(user, str) else None
