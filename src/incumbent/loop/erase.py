"""erase: forget a shopper, everywhere: inboxes, lake (all versions), quarantine, matured rows, exclusions.

Outcomes and states rebuild by themselves, since the partitions that lose rows count as changed. Seals keep their hash
and their count. What stays are audit rows, which name the shopper by a hash alone.

Nothing may be on its way from an inbox to the lake meanwhile, so whoever holds the sealer's lease does it: the caller
where nobody seals, else the loop, between two sealings, from a row in the outbox.
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import Struct

from incumbent.clock import Clock
from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit
from incumbent.loop import seal
from incumbent.loop.leases import Held
from incumbent.loop.operate import named
from incumbent.stores.store import OutboxRow, Stores

KIND = "erase"  # of the outbox row
_LEASE_S = 300.0


class Erased(Struct, frozen=True):
    """What an erasure took, by place; `done` is False where it was handed to the loop, which does it within seconds."""

    audit: str  # event id of the audit row
    subject: str
    done: bool
    rows: dict[str, int] = {}


class Eraser:
    """Forgets shoppers (ids as logged), by hand and with a reason.

    Events that arrive afterwards are kept like anybody's: erase again once the shop has stopped sending them. It may
    be repeated: the second time it finds nothing.
    """

    def __init__(self, stores: Stores, clock: Clock, ids: EventIds) -> None:
        self._stores, self._clock, self._ids = stores, clock, ids

    def erase(self, user_id: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Erased:
        """Now, where nobody seals; else by the loop. Raises `DataError` without an actor or a reason. The audit row
        keeps who is known to act, and whom they say they act for."""
        for field, text in (("actor", actor), ("reason", reason)):
            if not text.strip():
                raise DataError(f"an erasure needs a {field}", got=text, field=field)
        asked_by = {"user_id": user_id, "actor": actor, "reason": reason, **named(on_behalf_of)}
        control = self._stores.control
        with Held(control, self._clock, seal.LEASE, KIND, _LEASE_S) as lease:
            if lease.renew():
                return self.carry_out(asked_by)
        asked = self._audit("user.erase.asked", user_id, actor, reason, named(on_behalf_of))
        row = OutboxRow(f"{asked.event_id}:{KIND}", KIND, asked_by, asked.time)
        control.conclude(asked, outbox=[row])
        return Erased(asked.event_id, asked.subject, done=False)

    def carry_out(self, payload: dict[str, Any]) -> Erased:
        """What the outbox row asks for; by whoever holds the sealer's lease, while nothing is being sealed."""
        stores, user_id = self._stores, payload["user_id"]
        rows = {"inbox": stores.log.erase([user_id]), **_prefixed("lake", stores.lake.erase([user_id]))}
        audit = self._audit("user.erase", user_id, payload["actor"], payload["reason"],
                            {"rows": dict(rows), **named(payload.get("on_behalf_of"))})
        rows |= _prefixed("control", stores.control.erase([user_id], audit))
        return Erased(audit.event_id, audit.subject, done=True, rows={k: n for k, n in rows.items() if n})

    def _audit(self, action: str, user_id: str, actor: str, reason: str, details: dict[str, Any]) -> Audit:
        return Audit(event_id=self._ids.new(), time=self._clock.now(), actor=actor.strip(), action=action,
                     subject=subject_of(user_id), reason=reason.strip(), details=details)


def subject_of(user_id: str) -> str:
    """How an audit row names a shopper: 16 hex digits of BLAKE2b of the id.

    >>> subject_of("u42")
    'user:3783bb1891f56b9f'
    """
    return "user:" + hashlib.blake2b(user_id.encode(), digest_size=8).hexdigest()


def _prefixed(place: str, counts: dict[str, int]) -> dict[str, int]:
    return {f"{place}.{name}": count for name, count in sorted(counts.items())}
