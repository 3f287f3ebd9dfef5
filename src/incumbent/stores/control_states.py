"""Control, what is measured: states by shard, cursors, leases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from incumbent.events.window import Window
from incumbent.stores.control_engine import Database
from incumbent.stores.control_tables import cursors, leases, states
from incumbent.stores.store import Lease, StateRow

_STATE = [states.c[name] for name in StateRow.__struct_fields__]
_END = chr(0x10FFFF)  # behind every text of a prefix, in the order of bytes
_PAST = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class ControlStates:
    """The state, cursor and lease verbs of Control over a `Database`."""

    _db: Database

    def put(self, day: date, bucket: int, family: str, states: Sequence[StateRow],
            cursor: tuple[str, str] | None = None) -> None:
        """Replace a shard whole and move a cursor, in one transaction; see `Control.put`."""
        table = _STATE[0].table
        assert isinstance(table, sa.Table)
        rows = [{"family": family, "key": row.key, "day": day, "bucket": bucket, "state": row.state,
                 "config_hash": row.config_hash, "data": row.data} for row in states]
        with self._db.write() as connection:
            connection.execute(sa.delete(table).where(
                table.c.family == family, table.c.day == day, table.c.bucket == bucket))
            if rows:
                connection.execute(sa.insert(table), rows)
            if cursor is not None:
                upsert(connection, cursors, {"name": cursor[0]}, {"value": cursor[1]})

    def range(self, prefix: str, days: Window | None = None) -> list[StateRow]:
        """The states under a prefix, ordered by key, day and bucket; see `Control.range`."""
        query = sa.select(*_STATE).where(states.c.key >= prefix, states.c.key < prefix + _END).order_by(
            states.c.key, states.c.day, states.c.bucket)
        if days is not None:
            touched = list(days.days())
            if not touched:
                return []
            query = query.where(states.c.day.between(touched[0], touched[-1]))
        with self._db.read() as connection:
            return [StateRow(*row) for row in connection.execute(query)]

    def cursor(self, name: str) -> str | None:
        """Where a reader stands, None before its first step."""
        with self._db.read() as connection:
            return connection.scalar(sa.select(cursors.c.value).where(cursors.c.name == name))

    def cursors(self, prefix: str) -> dict[str, str]:
        """All cursors whose name starts with `prefix`, by name."""
        query = sa.select(cursors.c.name, cursors.c.value).where(
            cursors.c.name >= prefix, cursors.c.name < prefix + _END).order_by(cursors.c.name)
        with self._db.read() as connection:
            return {row.name: row.value for row in connection.execute(query)}

    def set_cursor(self, name: str, value: str) -> None:
        """Move a cursor."""
        with self._db.write() as connection:
            upsert(connection, cursors, {"name": name}, {"value": value})

    def acquire(self, name: str, holder: str, ttl_s: float, now: datetime) -> Lease | None:
        """Take a free lease, under a higher token than ever before, or renew one's own; None while it is another's."""
        until = now + timedelta(seconds=ttl_s)
        mine = sa.and_(leases.c.holder == holder, leases.c.until > now)
        with self._db.write() as connection:
            token = connection.scalar(
                sa.update(leases).where(leases.c.name == name, sa.or_(mine, leases.c.until <= now))
                .values(holder=holder, until=until, token=leases.c.token + sa.case((mine, 0), else_=1))
                .returning(leases.c.token))
            if token is None:
                if connection.scalar(sa.select(leases.c.token).where(leases.c.name == name)) is not None:
                    return None
                token = 1
                connection.execute(sa.insert(leases).values(name=name, holder=holder, token=token, until=until))
        return Lease(name, holder, token, until)

    def give_back(self, lease: Lease) -> None:
        """Free a lease, unless it has gone to somebody else meanwhile."""
        with self._db.write() as connection:
            connection.execute(sa.update(leases).where(
                leases.c.name == lease.name, leases.c.holder == lease.holder, leases.c.token == lease.token
            ).values(until=_PAST))


def upsert(connection: sa.Connection, table: sa.Table, key: dict[str, object], values: dict[str, object]) -> None:
    """Update the row of a key, or insert it, inside a write transaction."""
    where = [table.c[name] == value for name, value in key.items()]
    if not connection.execute(sa.update(table).where(*where).values(**values)).rowcount:
        connection.execute(sa.insert(table).values(**key, **values))
