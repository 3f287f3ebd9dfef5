"""Control, what is concluded: a conclusion and all that follows from it, in one transaction, once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from incumbent.events.schema import Conclusion
from incumbent.stores.control_engine import Database
from incumbent.stores.control_rules import kind_of, stale, subject_of
from incumbent.stores.control_states import upsert
from incumbent.stores.control_tables import conclusions, cursors, experiments, memories, outbox, stage_changes
from incumbent.stores.store import ExperimentRow, OutboxRow, StageChange

_decode = msgspec.json.Decoder(Conclusion).decode
_OUTBOX = [outbox.c[name] for name in OutboxRow.__struct_fields__]
_EXPERIMENT = [experiments.c[name] for name in ExperimentRow.__struct_fields__]
_STAGE = [stage_changes.c[name] for name in StageChange.__struct_fields__]


class ControlConclusions:
    """The conclusion, outbox and experiment verbs of Control over a `Database`."""

    _db: Database

    def conclude(
        self, conclusion: Conclusion, *, experiment: ExperimentRow | None = None, change: StageChange | None = None,
        outbox: Sequence[OutboxRow] = (), memory: tuple[str, bytes] | None = None, also: Sequence[Conclusion] = (),
        cursor: tuple[str, str] | None = None,
    ) -> None:
        """Store a conclusion once by its event id, with what follows from it; see `Control.conclude`."""
        with self._db.write() as connection:
            if not record(connection, conclusion):
                return
            for other in also:
                record(connection, other)
            if experiment is not None:
                _update(connection, experiment)
            if change is not None:
                _change(connection, change)
            if outbox:
                connection.execute(sa.insert(_OUTBOX[0].table), [msgspec.structs.asdict(row) for row in outbox])
            if memory is not None:
                upsert(connection, memories, {"name": memory[0]}, {"data": memory[1]})
            if cursor is not None:
                upsert(connection, cursors, {"name": cursor[0]}, {"value": cursor[1]})

    def conclusions(self, kind: str | None = None, subject: str | None = None, limit: int = 100) -> list[Conclusion]:
        """The newest conclusions first, of a kind (finding, decision, alert, audit) and a subject."""
        query = sa.select(conclusions.c.body).order_by(conclusions.c.time.desc(), conclusions.c.event_id.desc())
        if kind is not None:
            query = query.where(conclusions.c.kind == kind)
        if subject is not None:
            query = query.where(conclusions.c.subject == subject)
        with self._db.read() as connection:
            return [_decode(body) for body in connection.scalars(query.limit(limit))]

    def memory(self, name: str) -> bytes | None:
        """What a sequential detector or rule carries, None before its first step."""
        with self._db.read() as connection:
            return connection.scalar(sa.select(memories.c.data).where(memories.c.name == name))

    def outbox(self, limit: int = 100) -> list[OutboxRow]:
        """What is still to be done, the oldest first."""
        with self._db.read() as connection:
            return [OutboxRow(*row) for row in connection.execute(
                sa.select(*_OUTBOX).order_by(sa.text("position")).limit(limit))]

    def outbox_done(self, ids: Sequence[str]) -> None:
        """Forget what was done."""
        with self._db.write() as connection:
            for start in range(0, len(ids), 500):
                connection.execute(sa.delete(outbox).where(outbox.c.id.in_(ids[start:start + 500])))

    def outbox_failed(self, id: str, error: str) -> None:
        """Count an attempt that failed, and keep why."""
        with self._db.write() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.id == id).values(
                attempts=outbox.c.attempts + 1, error=error))

    def experiments(self) -> list[ExperimentRow]:
        """All experiments, by name."""
        with self._db.read() as connection:
            return [ExperimentRow(*row) for row in connection.execute(
                sa.select(*_EXPERIMENT).order_by(experiments.c.name))]

    def experiment(self, name: str) -> ExperimentRow | None:
        """One experiment, None where it was never started."""
        with self._db.read() as connection:
            row = connection.execute(sa.select(*_EXPERIMENT).where(experiments.c.name == name)).one_or_none()
        return ExperimentRow(*row) if row is not None else None

    def stages(self, experiment: str) -> list[StageChange]:
        """The intervals of an experiment's life, in their order."""
        with self._db.read() as connection:
            return [StageChange(*row) for row in connection.execute(
                sa.select(*_STAGE).where(stage_changes.c.experiment == experiment).order_by(stage_changes.c.since))]


def record(connection: sa.Connection, conclusion: Conclusion) -> bool:
    """Insert a conclusion inside a write transaction; False where its event id stands already."""
    if connection.scalar(sa.select(conclusions.c.event_id).where(conclusions.c.event_id == conclusion.event_id)):
        return False
    connection.execute(sa.insert(conclusions).values(
        event_id=conclusion.event_id, kind=kind_of(conclusion), subject=subject_of(conclusion), time=conclusion.time,
        body=msgspec.json.encode(conclusion).decode()))
    return True


def _update(connection: sa.Connection, row: ExperimentRow) -> None:
    values = msgspec.structs.asdict(row)
    if row.version == 1:
        taken = connection.scalar(sa.select(experiments.c.version).where(experiments.c.name == row.name))
        if taken is None:
            connection.execute(sa.insert(experiments).values(**values))
            return
    elif connection.execute(sa.update(experiments).where(
            experiments.c.name == row.name, experiments.c.version == row.version - 1).values(**values)).rowcount:
        return
    raise stale(row)


def _change(connection: sa.Connection, change: StageChange) -> None:
    """Close the interval that is open, and open (or set) the one of `change.since`."""
    connection.execute(sa.update(stage_changes).where(
        stage_changes.c.experiment == change.experiment, stage_changes.c.until.is_(None),
        stage_changes.c.since < change.since).values(until=change.since))
    upsert(connection, stage_changes, {"experiment": change.experiment, "since": change.since},
           {"stage": change.stage, "share": change.share, "until": change.until})
