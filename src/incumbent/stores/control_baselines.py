"""Control, what drift is judged against: baselines with the frames and windows of their streams, written once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from incumbent.stores.control_engine import Database
from incumbent.stores.control_tables import baseline_parts, baselines
from incumbent.stores.store import BaselinePart, BaselineRow

_ROW = [baselines.c[name] for name in BaselineRow.__struct_fields__]
_PART = [baseline_parts.c[name] for name in BaselinePart.__struct_fields__]


class ControlBaselines:
    """The baseline verbs of Control over a `Database`."""

    _db: Database

    def put_baseline(self, row: BaselineRow, parts: Sequence[BaselinePart]) -> BaselineRow:
        """Write a baseline as the next version of its name; see `Control.put_baseline`."""
        with self._db.write() as connection:
            last = connection.scalar(sa.select(sa.func.max(baselines.c.version)).where(baselines.c.name == row.name))
            row = msgspec.structs.replace(row, version=(last or 0) + 1)
            connection.execute(sa.insert(baselines).values(**msgspec.structs.asdict(row)))
            _insert(connection, row.name, row.version, parts)
        return row

    def add_parts(self, name: str, version: int, parts: Sequence[BaselinePart]) -> None:
        """Parts that a baseline gains later; what stands is not changed."""
        with self._db.write() as connection:
            stands = {tuple(row) for row in connection.execute(
                sa.select(baseline_parts.c.stream, baseline_parts.c.part).where(
                    baseline_parts.c.name == name, baseline_parts.c.version == version))}
            _insert(connection, name, version, [one for one in parts if (one.stream, one.part) not in stands])

    def baselines(self) -> list[BaselineRow]:
        """All baselines, by name and version."""
        with self._db.read() as connection:
            return [BaselineRow(*row) for row in connection.execute(
                sa.select(*_ROW).order_by(baselines.c.name, baselines.c.version))]

    def baseline(self, name: str, version: int | None = None) -> BaselineRow | None:
        """One version of a baseline, the newest where none is named."""
        query = sa.select(*_ROW).where(baselines.c.name == name).order_by(baselines.c.version.desc()).limit(1)
        if version is not None:
            query = query.where(baselines.c.version == version)
        with self._db.read() as connection:
            row = connection.execute(query).one_or_none()
        return BaselineRow(*row) if row is not None else None

    def baseline_parts(self, name: str, version: int, stream: str | None = None,
                       part: str | None = None) -> list[BaselinePart]:
        """The parts of a baseline, by stream and part."""
        query = sa.select(*_PART).where(baseline_parts.c.name == name, baseline_parts.c.version == version).order_by(
            baseline_parts.c.stream, baseline_parts.c.part)
        for column, wanted in ((baseline_parts.c.stream, stream), (baseline_parts.c.part, part)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._db.read() as connection:
            return [BaselinePart(*row) for row in connection.execute(query)]


def _insert(connection: sa.Connection, name: str, version: int, parts: Sequence[BaselinePart]) -> None:
    if parts:
        connection.execute(sa.insert(baseline_parts), [
            {"name": name, "version": version, **msgspec.structs.asdict(part)} for part in parts])
