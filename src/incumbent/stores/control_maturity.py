"""Control, what matured: seals written once, restatements beside them, and the erasure of users."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime

import msgspec
import sqlalchemy as sa

from incumbent.events.schema import Conclusion
from incumbent.stores.control_conclusions import record
from incumbent.stores.control_engine import Database
from incumbent.stores.control_plans import FORGOTTEN, next_version
from incumbent.stores.control_rules import in_order, sealed_differently
from incumbent.stores.control_states import upsert
from incumbent.stores.control_tables import counters, exclusions, matured, restated, seals
from incumbent.stores.store import Matured, Seal, seal_hash

_FIELDS = Matured.__struct_fields__
_SEAL = [seals.c[name] for name in Seal.__struct_fields__]
_ERASED = {"matured": matured.c.unit, "restated": restated.c.unit, "exclusions": exclusions.c.user_id}
_MANY = 500


class ControlMaturity:
    """The seal, restatement and erasure verbs of Control over a `Database`."""

    _db: Database

    def seal(self, experiment: str, day: date, rows: Sequence[Matured], sealed_at: datetime) -> Seal:
        """Write one maturity day once; see `Control.seal`."""
        ordered = in_order(rows)
        digest = seal_hash(ordered)
        with self._db.write() as connection:
            known = connection.execute(
                sa.select(*_SEAL).where(seals.c.experiment == experiment, seals.c.day == day)).one_or_none()
            if known is not None:
                first = Seal(*known)
                if first.hash != digest:
                    raise sealed_differently(first, digest)
                return first
            last = connection.scalar(sa.select(sa.func.max(seals.c.sequence)).where(seals.c.experiment == experiment))
            seal = Seal(experiment, day, 0 if last is None else last + 1, len(ordered), digest,
                        sealed_at.astimezone(UTC))
            connection.execute(sa.insert(seals).values(**msgspec.structs.asdict(seal)))
            if ordered:
                connection.execute(sa.insert(matured), [
                    {**msgspec.structs.asdict(row), "experiment": experiment, "sequence": seal.sequence}
                    for row in ordered])
        return seal

    def seals(self, experiment: str) -> list[Seal]:
        """The seals of an experiment in the order of their sequence."""
        with self._db.read() as connection:
            return [Seal(*row) for row in connection.execute(
                sa.select(*_SEAL).where(seals.c.experiment == experiment).order_by(seals.c.sequence))]

    def matured(self, experiment: str, *, since: datetime | None = None,
                units: Collection[str] | None = None) -> list[Matured]:
        """Sealed units in sequence order; see `Control.matured`."""
        with self._db.read() as connection:
            return _matured(connection, experiment, since, units)

    def restate(self, experiment: str, rows: Sequence[Matured], at: datetime) -> None:
        """Put units as they are now in the place of their earlier restatement; see `Control.restate`."""
        latest = {row.unit: row for row in rows}
        with self._db.write() as connection:
            _delete(connection, restated.c.unit, latest, restated.c.experiment == experiment)
            for judged in _matured(connection, experiment, None, list(latest)):
                if latest[judged.unit] == judged:
                    del latest[judged.unit]
            if latest:
                connection.execute(sa.insert(restated), [
                    {**msgspec.structs.asdict(row), "experiment": experiment, "at": at} for row in latest.values()])

    def restated(self, experiment: str) -> list[Matured]:
        """The units that were restated, by maturity and unit."""
        table = restated
        query = sa.select(*(table.c[name] for name in _FIELDS)).where(table.c.experiment == experiment).order_by(
            table.c.matured_at, table.c.unit)
        with self._db.read() as connection:
            return [Matured(*row) for row in connection.execute(query)]

    def expire_units(self, experiment: str) -> int:
        """Remove all sealed and restated units of an experiment; see `Control.expire_units`."""
        with self._db.write() as connection:
            gone = sum(connection.execute(sa.delete(table).where(table.c.experiment == experiment)).rowcount
                       for table in (matured, restated))
        if gone:
            self._db.forget()
        return gone

    def erase(self, users: Iterable[str], audit: Conclusion) -> dict[str, int]:
        """Remove users from matured, restated and exclusions, with the audit row, in one transaction.

        Seals keep their hash and their count: what was judged stays provable, whom it was judged on is gone.
        """
        wanted = set(users)
        with self._db.write() as connection:
            gone = {name: _delete(connection, column, wanted) for name, column in _ERASED.items()}
            if gone["exclusions"]:
                upsert(connection, counters, {"name": FORGOTTEN}, {"value": next_version(connection)})
            record(connection, audit)
        self._db.forget()
        return gone


def _matured(connection: sa.Connection, experiment: str, since: datetime | None,
             units: Collection[str] | None) -> list[Matured]:
    query = sa.select(*(matured.c[name] for name in _FIELDS), matured.c.sequence).where(
        matured.c.experiment == experiment).order_by(matured.c.sequence, matured.c.matured_at, matured.c.unit)
    if since is not None:
        query = query.where(matured.c.matured_at >= since)
    if units is None:
        return [Matured(*row[:-1]) for row in connection.execute(query)]
    chosen = sorted(units)
    rows = [row for start in range(0, len(chosen), _MANY)
            for row in connection.execute(query.where(matured.c.unit.in_(chosen[start:start + _MANY])))]
    return [Matured(*row[:-1]) for row in sorted(rows, key=lambda row: (row.sequence, row.matured_at, row.unit))]


def _delete(connection: sa.Connection, column: sa.Column[str], values: Iterable[str],
            *where: sa.ColumnElement[bool]) -> int:
    chosen = list(values)
    return sum(
        connection.execute(sa.delete(column.table).where(column.in_(chosen[start:start + _MANY]), *where)).rowcount
        for start in range(0, len(chosen), _MANY))
