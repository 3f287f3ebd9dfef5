"""Control in memory, what is concluded: conclusions, outbox, memories, experiments and their stages."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from incumbent.errors import ConflictError
from incumbent.events.schema import Conclusion
from incumbent.stores.control_rules import kind_of, stale, subject_of
from incumbent.stores.memory_tables import MemoryTables
from incumbent.stores.store import ExperimentRow, OutboxRow, StageChange


class MemoryConclusions(MemoryTables):
    """The verbs of Control that decide and act use."""

    def conclude(
        self, conclusion: Conclusion, *, experiment: ExperimentRow | None = None, change: StageChange | None = None,
        outbox: Sequence[OutboxRow] = (), memory: tuple[str, bytes] | None = None, also: Sequence[Conclusion] = (),
        cursor: tuple[str, str] | None = None,
    ) -> None:
        """Store a conclusion once by its event id, with what follows from it; see `Control.conclude`."""
        with self._lock:
            if conclusion.event_id in self._conclusions:
                return
            if experiment is not None:
                stored = self._experiments.get(experiment.name)
                if experiment.version != (stored.version if stored else 0) + 1:
                    raise stale(experiment)
            if len({row.id for row in outbox} - set(self._outbox)) < len(outbox):
                raise ConflictError("an outbox id stands already", got=[row.id for row in outbox])
            for one in (conclusion, *also):
                self._conclusions.setdefault(one.event_id, one)
            if experiment is not None:
                self._experiments[experiment.name] = experiment
            if change is not None:
                self._change(change)
            self._outbox.update({row.id: row for row in outbox})
            if memory is not None:
                self._memories[memory[0]] = memory[1]
            if cursor is not None:
                self._cursors[cursor[0]] = cursor[1]

    def _change(self, change: StageChange) -> None:
        for key, interval in self._stages.items():
            if key[0] == change.experiment and interval.until is None and interval.since < change.since:
                self._stages[key] = msgspec.structs.replace(interval, until=change.since)
        self._stages[change.experiment, change.since] = change

    def conclusions(self, kind: str | None = None, subject: str | None = None, limit: int = 100) -> list[Conclusion]:
        """The newest conclusions first, of a kind and a subject."""
        with self._lock:
            found = [one for one in self._conclusions.values()
                     if (kind is None or kind_of(one) == kind) and (subject is None or subject_of(one) == subject)]
        return sorted(found, key=lambda one: (one.time, one.event_id), reverse=True)[:limit]

    def memory(self, name: str) -> bytes | None:
        """What a sequential detector or rule carries, None before its first step."""
        return self._memories.get(name)

    def outbox(self, limit: int = 100) -> list[OutboxRow]:
        """What is still to be done, the oldest first."""
        with self._lock:
            return list(self._outbox.values())[:limit]

    def outbox_done(self, ids: Sequence[str]) -> None:
        """Forget what was done."""
        with self._lock:
            for id in ids:
                self._outbox.pop(id, None)

    def outbox_failed(self, id: str, error: str) -> None:
        """Count an attempt that failed, and keep why."""
        with self._lock:
            if (row := self._outbox.get(id)) is not None:
                self._outbox[id] = msgspec.structs.replace(row, attempts=row.attempts + 1, error=error)

    def experiments(self) -> list[ExperimentRow]:
        """All experiments, by name."""
        with self._lock:
            return [self._experiments[name] for name in sorted(self._experiments)]

    def experiment(self, name: str) -> ExperimentRow | None:
        """One experiment, None where it was never started."""
        return self._experiments.get(name)

    def stages(self, experiment: str) -> list[StageChange]:
        """The intervals of an experiment's life, in their order."""
        with self._lock:
            return [self._stages[key] for key in sorted(self._stages) if key[0] == experiment]
