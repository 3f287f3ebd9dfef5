"""Control in memory, what is measured and what is served: states, cursors, leases, plans, exclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile

import msgspec

from incumbent.errors import ConflictError
from incumbent.events.plan import ServingPlan
from incumbent.events.window import Window
from incumbent.stores.exclusion_changes import Spans, spans, told
from incumbent.stores.memory_tables import MemoryTables
from incumbent.stores.store import Lease, StateRow


class MemoryPlans(MemoryTables):
    """The verbs of Control that a gateway and the measuring loop use."""

    def put(self, day: date, bucket: int, family: str, states: Sequence[StateRow],
            cursor: tuple[str, str] | None = None) -> None:
        """Replace a shard whole and move a cursor; see `Control.put`."""
        shard = {row.key: msgspec.structs.replace(row, day=day, bucket=bucket) for row in states}
        if len(shard) < len(states):
            raise ConflictError("a shard holds a key once", got=f"{len(states)} states under {len(shard)} keys")
        with self._lock:
            self._states[family, day, bucket] = shard
            if cursor is not None:
                self._cursors[cursor[0]] = cursor[1]

    def range(self, prefix: str, days: Window | None = None) -> list[StateRow]:
        """The states under a prefix, ordered by key, day and bucket; see `Control.range`."""
        touched = set(days.days()) if days is not None else None
        with self._lock:
            rows = [row for (_, day, _), shard in self._states.items() if touched is None or day in touched
                    for key, row in shard.items() if key.startswith(prefix)]
        return sorted(rows, key=lambda row: (row.key, row.day, row.bucket))

    def cursor(self, name: str) -> str | None:
        """Where a reader stands, None before its first step."""
        return self._cursors.get(name)

    def cursors(self, prefix: str) -> dict[str, str]:
        """All cursors whose name starts with `prefix`, by name."""
        return {name: value for name, value in sorted(self._cursors.items()) if name.startswith(prefix)}

    def set_cursor(self, name: str, value: str) -> None:
        """Move a cursor."""
        self._cursors[name] = value

    def acquire(self, name: str, holder: str, ttl_s: float, now: datetime) -> Lease | None:
        """Take a free lease under a higher token, or renew one's own; None while it is another's."""
        until = now + timedelta(seconds=ttl_s)
        with self._lock:
            held = self._leases.get(name)
            token = 1
            if held is not None:
                mine = held.holder == holder and held.until > now
                if held.until > now and not mine:
                    return None
                token = held.token + (not mine)
            self._leases[name] = lease = Lease(name, holder, token, until)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Free a lease, unless it has gone to somebody else meanwhile."""
        with self._lock:
            held = self._leases.get(lease.name)
            if held is not None and (held.holder, held.token) == (lease.holder, lease.token):
                self._leases[lease.name] = msgspec.structs.replace(held, until=datetime(1970, 1, 1, tzinfo=UTC))

    def publish(self, plan: ServingPlan) -> ServingPlan:
        """Store a plan as the current one under the next version, unless it equals the current one."""
        with self._lock:
            if self._plans and self._plans[-1].hash == plan.hash:
                return self._plans[-1]
            self._plans.append(plan.stamped(len(self._plans) + 1, plan.time))
            return self._plans[-1]

    def plan(self, hash: str | None = None) -> ServingPlan | None:
        """The current plan, or the newest one of a hash; None where there is none."""
        with self._lock:
            return next((plan for plan in reversed(self._plans) if hash is None or plan.hash == hash), None)

    def plan_history(self, limit: int) -> list[ServingPlan]:
        """The last `limit` plans, the current one last."""
        with self._lock:
            return self._plans[-limit:]

    def plan_version(self) -> int:
        """The current plan's version, 0 where there is none."""
        return len(self._plans)

    def exclude(self, user_id: str, item_id: str, at: datetime, *, excluded: bool = True,
                kind: str = "item", late: bool = False) -> None:
        """Exclude an item, a category or a past interaction for a shopper, or take that back; see `Control.exclude`."""
        with self._lock:
            stands = self._exclusions.setdefault(user_id, {})
            version, before = stands.get((kind, item_id), (0, ()))
            changes = told(before, at, excluded=excluded, late=late)
            if not late or changes[-1:] != before[-1:]:
                version = self._exclusions_version = self._exclusions_version + 1
                self._exclusions[user_id] = self._exclusions.pop(user_id)  # whoever changed last stands last
            stands[kind, item_id] = (version, changes)

    def exclusions(self, since: int = 0, *, kind: str = "item") -> tuple[int, Mapping[str, frozenset[str]]]:
        """The version, and per user that changed after `since` all of a kind that is excluded now (maybe nothing)."""
        with self._lock:
            changed = takewhile(lambda user: any(version > since for version, _ in self._exclusions[user].values()),
                                reversed(self._exclusions))
            return self._exclusions_version, {
                user: frozenset(item for (of, item), (_, changes) in items.items() if changes[-1][1] and of == kind)
                for user, items in ((user, self._exclusions[user]) for user in changed)
                if any(version > since and of == kind for (of, _), (version, _) in items.items())}

    def excluded_spans(self, kind: str = "item") -> Mapping[str, Mapping[str, Spans]]:
        """User -> what of a kind is or was excluded -> when; see `Control.excluded_spans`."""
        with self._lock:
            held = [(user, item, spans(changes)) for user, items in self._exclusions.items()
                    for (of, item), (_, changes) in items.items() if of == kind]
        out: dict[str, dict[str, Spans]] = {}
        for user, item, found in held:
            if found:
                out.setdefault(user, {})[item] = found
        return out

    def forgotten(self) -> int:
        """The version of the exclusions at the last erasure; see `Control.forgotten`."""
        return self._forgotten
