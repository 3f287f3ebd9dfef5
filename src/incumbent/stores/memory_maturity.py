"""Control in memory, what matured: seals written once, restatements beside them, and the erasure of users."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from incumbent.errors import ConflictError
from incumbent.events.schema import Conclusion
from incumbent.stores.control_rules import in_order, sealed_differently
from incumbent.stores.memory_tables import MemoryTables
from incumbent.stores.store import Matured, Seal, seal_hash


class MemoryMaturity(MemoryTables):
    """The verbs of Control that maturity and erasure use."""

    def seal(self, experiment: str, day: date, rows: Sequence[Matured], sealed_at: datetime) -> Seal:
        """Write one maturity day once; see `Control.seal`."""
        ordered = in_order(rows)
        digest = seal_hash(ordered)
        with self._lock:
            first = self._seals.get((experiment, day))
            if first is not None:
                if first.hash != digest:
                    raise sealed_differently(first, digest)
                return first
            units = self._matured.setdefault(experiment, {})
            twice = sorted(units.keys() & {row.unit for row in ordered})
            if twice:
                raise ConflictError("a unit matures once", got=twice, expected="units of no earlier seal")
            seal = Seal(experiment, day, len(self.seals(experiment)), len(ordered), digest, sealed_at.astimezone(UTC))
            self._seals[experiment, day] = seal
            units.update({row.unit: (seal.sequence, row) for row in ordered})
        return seal

    def seals(self, experiment: str) -> list[Seal]:
        """The seals of an experiment in the order of their sequence."""
        with self._lock:
            return sorted((seal for seal in self._seals.values() if seal.experiment == experiment),
                          key=lambda seal: seal.sequence)

    def matured(self, experiment: str, *, since: datetime | None = None,
                units: Collection[str] | None = None) -> list[Matured]:
        """Sealed units in sequence order; see `Control.matured`."""
        wanted = None if units is None else frozenset(units)
        with self._lock:
            rows = sorted(self._matured.get(experiment, {}).values(),
                          key=lambda pair: (pair[0], pair[1].matured_at, pair[1].unit))
        return [row for _, row in rows if (since is None or row.matured_at >= since)
                and (wanted is None or row.unit in wanted)]

    def restate(self, experiment: str, rows: Sequence[Matured], at: datetime) -> None:
        """Put units as they are now in the place of their earlier restatement; see `Control.restate`."""
        with self._lock:
            judged, now = self._matured.get(experiment, {}), self._restated.setdefault(experiment, {})
            for row in rows:
                if row.unit in judged and judged[row.unit][1] == row:
                    now.pop(row.unit, None)
                else:
                    now[row.unit] = row

    def restated(self, experiment: str) -> list[Matured]:
        """The units that were restated, by maturity and unit."""
        with self._lock:
            return sorted(self._restated.get(experiment, {}).values(), key=lambda row: (row.matured_at, row.unit))

    def expire_units(self, experiment: str) -> int:
        """Remove all sealed and restated units of an experiment; see `Control.expire_units`."""
        with self._lock:
            return sum(len(table.pop(experiment, ())) for table in (self._matured, self._restated))

    def erase(self, users: Iterable[str], audit: Conclusion) -> dict[str, int]:
        """Remove users from matured, restated and exclusions, with the audit row."""
        wanted = set(users)
        with self._lock:
            gone = {"matured": _drop(self._matured, wanted), "restated": _drop(self._restated, wanted),
                    "exclusions": sum(len(self._exclusions.pop(user, ())) for user in wanted)}
            if gone["exclusions"]:
                self._exclusions_version += 1
                self._forgotten = self._exclusions_version
            self._conclusions.setdefault(audit.event_id, audit)
        return gone


def _drop(tables: dict[str, dict[str, Any]], users: set[str]) -> int:
    return sum(table.pop(user, None) is not None for table in tables.values() for user in users)
