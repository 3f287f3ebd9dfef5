"""erase: forget a shopper, everywhere: inboxes, lake (all versions), quarantine, matured rows, exclusions.

Outcomes and states rebuild by themselves, since the partitions that lose rows count as changed. Seals keep their hash
and their count. What stays are audit rows, which name the shopper by a keyed hash alone.

Nothing may be on its way back meanwhile: an erasure holds the leases of the sealer, of attribution, of maturity, of
replays and of the outbox, so it is no work for the `Actor`. It is asked for first, by a row in the outbox, and then
done here, or by the loop where others hold the leases. Every step may be repeated; a crash at any of them leaves the
row, and the loop begins again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from incumbent.clock import Clock
from incumbent.errors import ConflictError, DataError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit
from incumbent.loop import act, attribute, mature, seal
from incumbent.loop.door import quarantine
from incumbent.loop.drift import latest_vectors
from incumbent.loop.leases import Held
from incumbent.loop.operate import named
from incumbent.stores.store import OutboxRow, Stores

KIND = "erase"  # of the outbox row
#: of all who carry rows of shoppers from one place to another, as the jobs of a loop hold them
LEASES = (seal.LEASE, attribute.CURSOR, mature.LEASE, latest_vectors.CURSOR)
#: of who sends rows back from quarantine, and of who carries them: held against the holder's own jobs too
RETURNING = (quarantine.MEMORY, act.LEASE)
_LEASE_S = 300.0  # renewed between the steps


class Erased(Struct, frozen=True):
    """What an erasure took, by place; `done` is False where it was handed to the loop, which does it within seconds."""

    audit: str  # event id of the audit row
    subject: str
    done: bool
    rows: dict[str, int] = {}


class Eraser:
    """Forgets shoppers (ids as logged), by hand and with a reason.

    `secret` keys the hash by which audit rows name a shopper; who only carries out what was asked for needs none.
    `holder` is who holds the leases: in a loop process the one of its jobs, which must not run meanwhile. `also` is
    told the id at the end, for what the process itself remembers. Events that arrive afterwards are kept like
    anybody's: erase again once the shop has stopped sending them. It may be repeated: then it finds nothing.
    """

    def __init__(self, stores: Stores, clock: Clock, ids: EventIds, *, secret: bytes | None = None,
                 holder: str = KIND, lease_s: float = _LEASE_S, also: Callable[[str], None] | None = None) -> None:
        self._stores, self._clock, self._ids, self._also = stores, clock, ids, also
        self._secret, self._holder, self._lease_s = secret, holder, lease_s

    def erase(self, user_id: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Erased:
        """Now, where nobody seals or measures; else by the loop. The audit rows keep who is known to act, and whom they
        say they act for.

        Raises `DataError` without an actor or a reason, `StoreError` where a store refuses: then the loop goes on with
        it, or whoever erases again.
        """
        for field, text in (("actor", actor), ("reason", reason)):
            if not text.strip():
                raise DataError(f"an erasure needs a {field}", got=text, field=field)
        if not self._secret:
            raise DataError("an erasure needs the service's secret", field="secret")
        first, second = self._ids.new(), self._ids.new()
        payload = {"user_id": user_id, "actor": actor, "reason": reason, "audit": second,
                   "subject": subject_of(user_id, self._secret), **named(on_behalf_of)}
        asked = self._audit("user.erase.asked", first, payload, {})
        self._stores.control.conclude(
            asked, outbox=[OutboxRow(f"{asked.event_id}:{KIND}", KIND, payload, asked.time)])
        try:
            return self.carry_out(payload)
        except ConflictError:
            return Erased(asked.event_id, asked.subject, done=False)

    def carry_out(self, payload: dict[str, Any]) -> Erased:
        """What the outbox row asks for; `ConflictError`, before or between two steps, where another holds a lease."""
        stores, user_id = self._stores, payload["user_id"]
        control = stores.control
        with ExitStack() as stack:
            held = [stack.enter_context(self._held(name, self._holder)) for name in LEASES]
            with ExitStack() as inner:
                held += [inner.enter_context(self._held(name, f"{self._holder}/{KIND}")) for name in RETURNING]
                _renew(held)
                quarantine.forget(control, user_id)
                rows = {"inbox": stores.log.erase([user_id])}
                _renew(held)
                rows |= _prefixed("lake", stores.lake.erase([user_id]))
                _renew(held)
                audit = self._audit("user.erase", payload.get("audit") or self._ids.new(), payload,
                                    {"rows": dict(rows)})
                rows |= _prefixed("control", control.erase([user_id], audit))
                if self._also is not None:
                    self._also(user_id)
                quarantine.forget(control, user_id)
            control.outbox_done([row.id for row in control.outbox(100_000)
                                 if row.kind == KIND and row.payload["user_id"] == user_id])
            control.erase([user_id], audit)  # finds nothing, and leaves no trace of the rows that asked for it
        return Erased(audit.event_id, audit.subject, done=True, rows={k: n for k, n in rows.items() if n})

    def _held(self, name: str, holder: str) -> Held:
        return Held(self._stores.control, self._clock, name, holder, self._lease_s)

    def _audit(self, action: str, event_id: str, payload: dict[str, Any], details: dict[str, Any]) -> Audit:
        return Audit(event_id=event_id, time=self._clock.now(), actor=payload["actor"].strip(), action=action,
                     subject=payload["subject"], reason=payload["reason"].strip(),
                     details={**details, **named(payload.get("on_behalf_of"))})


def subject_of(user_id: str, secret: bytes) -> str:
    """How an audit row names a shopper: 128 bits of HMAC-SHA256 in hex. Nobody can try ids against it who has not
    the secret.

    >>> subject_of("u42", b"secret")
    'user:506df1610dcd7e938871178bc8709499'
    """
    return "user:" + hmac.new(secret, b"incumbent.erased\n" + user_id.encode(), hashlib.sha256).hexdigest()[:32]


def _renew(leases: list[Held]) -> None:
    if not all(lease.renew() for lease in leases):
        raise ConflictError("somebody seals, measures or sends back",
                            hint="the erasure waits for them; it stays asked for")


def _prefixed(place: str, counts: dict[str, int]) -> dict[str, int]:
    return {f"{place}.{name}": count for name, count in sorted(counts.items())}
