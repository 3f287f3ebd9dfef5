"""quarantine: what was refused, read back; and what has been mended, sent in again.

Nothing leaves the lake's quarantine before its days are over. What came back is marked in Control, in the transaction
that also holds the audit row and the outbox rows that carry the events to the log: so an event is on its way exactly
when it is marked, and it is known under one id however often it is tried.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.errors import ConflictError, DataError, NotFoundError
from incumbent.events import codec
from incumbent.events.ids import EventIds, id_time
from incumbent.events.schema import Audit, Feedback
from incumbent.loop.door.mend import Door, Fix, Mended, message_of
from incumbent.loop.door.refused import Selection, groups, located, selected, whole, without
from incumbent.loop.enact import to_log
from incumbent.loop.leases import Held
from incumbent.loop.operate import named
from incumbent.stores.columns import user_of
from incumbent.stores.store import Control, Lake, Log, OutboxRow, Quarantined, Record

KIND = "replay"  # of the outbox rows
MEMORY = "quarantine"  # id in quarantine -> id of the audit row of its return
SUBJECT = "quarantine"
SHOWN = 200  # refusals that an answer lists


class Replayed(Struct, frozen=True):
    """What a replay did, or, `dry_run`, would do: refused ones stay and say why.

    It goes back through all that waits until `limit` messages pass; `selected` are those that it judged.
    """

    selected: int
    returned: int
    refused: int
    before: int  # returned by an earlier replay, and left alone
    refusals: list[dict[str, Any]]
    audit: str | None = None
    dry_run: bool = False


def listed(lake: Lake, control: Control, now: datetime, chosen: Selection, *, everything: bool = False
           ) -> dict[str, Any]:
    """What is in quarantine: ``groups`` of one kind, field and source, largest first, and ``rows``, newest first.

    What has returned is left out, unless `everything` is asked for.
    """
    marks, found = marked(control), selected(lake, chosen, now)
    if not everything:
        found = without(found, list(marks))
    return {"total": found.num_rows, "groups": groups(found),
            "rows": [_brief(row, marks) for row in whole(lake, found.slice(0, chosen.limit))]}


def shown(lake: Lake, control: Control, event_id: str) -> dict[str, Any]:
    """One message as it came, with why it was refused; `NotFoundError` where there is none."""
    row = next(whole(lake, located(lake, event_id)), None)
    if row is None:
        raise NotFoundError("the message has just gone", got=event_id, field="event_id")
    message = message_of(row.raw)
    return {**_brief(row, marked(control)), "user_id": row.user_id,
            "raw": row.raw.decode("utf-8", "backslashreplace"),
            "message": message if isinstance(message, dict) else None}


class Replayer:
    """Sends mended messages in again, by hand, with a reason; one replay at a time (lease `quarantine`)."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, ids: EventIds, door: Door, *,
                 quarantine_days: int = 30) -> None:
        self._lake, self._control, self._clock, self._ids, self._door = lake, control, clock, ids, door
        self._days = quarantine_days

    def replay(self, chosen: Selection, *, actor: str, reason: str, fix: Fix | None = None, told: str = "none",
               dry_run: bool = False, on_behalf_of: str | None = None) -> Replayed:
        """Judge every chosen message again, mended by `fix`, as a door of today would; those that pass go to the log.

        `told` is the fix as the audit keeps it. An id of the message's own stays; else one is made of the one in
        quarantine, so that the lake keeps one of it. `DataError` without an actor or a reason, `ConflictError` while
        another runs.
        """
        for field, text in (("actor", actor), ("reason", reason)):
            if not text.strip():
                raise DataError(f"a replay needs a {field}", got=text, field=field)
        with Held(self._control, self._clock, MEMORY, f"replay@{self._ids.new()}", 300.0) as lease:
            if not lease.renew():
                raise ConflictError("another replay runs", hint="wait for its end")
            return self._replay(lease, chosen, actor, reason, fix, told, dry_run, on_behalf_of)

    def _replay(self, lease: Held, chosen: Selection, actor: str, reason: str, fix: Fix | None, told: str,
                dry_run: bool, on_behalf_of: str | None) -> Replayed:
        token = lease.token
        marks, now = marked(self._control), self._clock.now()
        found = selected(self._lake, chosen, now)
        waiting = without(found, list(marks))
        mended: list[tuple[Quarantined, Mended]] = []
        refused, refusals = 0, []
        for row in whole(self._lake, waiting):
            if len(mended) >= chosen.limit:
                break
            try:
                mended.append((row, self._door.mend(row, fix, now)))
            except DataError as error:
                refused += 1
                if refused <= SHOWN:
                    refusals.append({"event_id": row.event_id, "field": error.field, "reason": str(error)})
        done = Replayed(refused + len(mended), len(mended), refused, found.num_rows - waiting.num_rows, refusals,
                        dry_run=dry_run)
        if dry_run or not mended:
            return done
        audit = Audit(
            event_id=self._ids.new(), time=now, actor=actor.strip(), action="quarantine.replay", subject=SUBJECT,
            reason=reason.strip(), details={
                "selected": done.selected, "returned": done.returned, "refused": done.refused, "fix": told,
                "chosen": msgspec.to_builtins(chosen), **named(on_behalf_of)})
        kept = {id: by for id, by in marks.items() if now - id_time(id) < timedelta(days=self._days + 1)}
        kept |= {row.event_id: audit.event_id for row, _ in mended}
        if not lease.renew() or lease.token != token:  # a shopper of these may have been erased
            raise ConflictError("the replay lost its lease", hint="nothing was sent; replay again")
        self._control.conclude(
            audit, outbox=[to_log(audit), *(_row(row, one, now) for row, one in mended)],
            memory=(MEMORY, msgspec.msgpack.encode(kept)))
        return msgspec.structs.replace(done, audit=audit.event_id)


def returner(log: Log, lake: Lake, control: Control, timeout_s: float = 30.0) -> Callable[[dict[str, Any]], None]:
    """The handler of the outbox rows: the event goes to the log, which knows it by its id; an exclusion holds from then
    on, unless the shopper has said something newer.

    What the sealer had refused has been in the log under its own id, which the log would drop for a day: it goes
    straight into the lake, once.
    """

    def give_back(payload: dict[str, Any]) -> None:
        data = base64.b64decode(payload["data"])
        event = codec.decode(data)
        if payload["sealed"]:
            lake.commit([event], f"{KIND}:{payload['event_id']}", 0)
        else:
            log.append([Record(payload["event_id"], payload["table"], data)]).result(timeout_s)
        if isinstance(event, Feedback) and event.action == "exclude":
            control.exclude(event.user_id, event.item_id, event.time, late=True)

    return give_back


def forget(control: Control, user_id: str) -> None:
    """Take out of the outbox what is on its way back of a shopper who is erased."""
    control.outbox_done([row.id for row in control.outbox(1_000_000)
                         if row.kind == KIND and row.payload.get("user_id") == user_id])


def marked(control: Control) -> dict[str, str]:
    """Id in quarantine -> id of the audit row of its return."""
    kept = control.memory(MEMORY)
    return {} if kept is None else msgspec.msgpack.decode(kept, type=dict[str, str])


def _row(row: Quarantined, one: Mended, now: datetime) -> OutboxRow:
    return OutboxRow(f"{row.event_id}:{KIND}", KIND, {
        "event_id": one.event.event_id, "table": one.table, "user_id": user_of(one.event),
        "sealed": row.source == "sealer", "data": base64.b64encode(one.data).decode()}, now)


def _brief(row: Quarantined, marks: dict[str, str]) -> dict[str, Any]:
    return {"event_id": row.event_id, "time": row.time.isoformat(), "kind": row.kind, "field": row.field,
            "index": row.index, "reason": row.reason, "source": row.source, "bytes": len(row.raw),
            "returned": marks.get(row.event_id)}
