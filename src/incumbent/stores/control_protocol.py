"""Control: what is decided and measured. Its protocol; the rows are in `control_rows`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from incumbent.events.plan import ServingPlan
from incumbent.events.schema import Conclusion
from incumbent.events.window import Window
from incumbent.stores.control_rows import (
    BaselinePart,
    BaselineRow,
    ExperimentRow,
    Lease,
    Matured,
    OutboxRow,
    Seal,
    StageChange,
    StateRow,
)
from incumbent.stores.exclusion_changes import Spans


class Control(Protocol):
    """What is decided and measured: small, transactional, kept for ever."""

    # -- states, with the cursor that they stand on, in one transaction
    def put(self, day: date, bucket: int, family: str, states: Sequence[StateRow],
            cursor: tuple[str, str] | None = None) -> None:
        """Replace all states of one (family, day, bucket) shard, and move a cursor, in one transaction."""
        ...

    def range(self, prefix: str, days: Window | None = None) -> list[StateRow]:
        """All states whose key starts with `prefix`, of the days that the window touches, ordered by key and day."""
        ...

    def cursor(self, name: str) -> str | None: ...
    def cursors(self, prefix: str) -> dict[str, str]:
        """All cursors whose name starts with `prefix`, by name."""
        ...

    def set_cursor(self, name: str, value: str) -> None: ...

    # -- plan
    def publish(self, plan: ServingPlan) -> ServingPlan:
        """Store a plan as the current one (its version set to the next number) unless it equals the current one."""
        ...

    def plan(self, hash: str | None = None) -> ServingPlan | None:
        """The current plan, or the one of that hash."""
        ...

    def plan_history(self, limit: int) -> list[ServingPlan]:
        """The last `limit` plans, at least one asked for, the current one last: rankings begun under them go on."""
        ...

    def plan_version(self) -> int:
        """The current plan's version, 0 where there is none: what gateways poll."""
        ...

    # -- leases
    def acquire(self, name: str, holder: str, ttl_s: float, now: datetime) -> Lease | None:
        """Take or renew a lease; None while somebody else holds it."""
        ...

    def give_back(self, lease: Lease) -> None: ...

    # -- conclusions: the event, what changes with it, and the outbox rows, in one transaction
    def conclude(
        self, conclusion: Conclusion, *, experiment: ExperimentRow | None = None, change: StageChange | None = None,
        outbox: Sequence[OutboxRow] = (), memory: tuple[str, bytes] | None = None, also: Sequence[Conclusion] = (),
        cursor: tuple[str, str] | None = None,
    ) -> None:
        """Store a conclusion once by its event id with all that follows from it; `ConflictError` where `experiment`
        was changed by somebody else (its version is not the stored one plus one). `also` are conclusions that it
        stands on: stored with it or not at all, each once by its own event id; `cursor` moves with it."""
        ...

    def conclusions(self, kind: str | None = None, subject: str | None = None, limit: int = 100) -> list[Conclusion]:
        """Newest first. `subject` is an experiment name for decisions, the subject otherwise."""
        ...

    def memory(self, name: str) -> bytes | None:
        """What a sequential detector or rule carries from step to step."""
        ...

    def outbox(self, limit: int = 100) -> list[OutboxRow]: ...
    def outbox_done(self, ids: Sequence[str]) -> None: ...
    def outbox_failed(self, id: str, error: str) -> None: ...

    # -- experiments
    def experiments(self) -> list[ExperimentRow]: ...
    def experiment(self, name: str) -> ExperimentRow | None: ...
    def stages(self, experiment: str) -> list[StageChange]: ...

    # -- maturity
    def seal(self, experiment: str, day: date, rows: Sequence[Matured], sealed_at: datetime) -> Seal:
        """Write one maturity day once. Sealing it again with the same rows returns the first seal; with other rows
        raises `ConflictError`."""
        ...

    def seals(self, experiment: str) -> list[Seal]: ...
    def matured(self, experiment: str, *, since: datetime | None = None,
                units: Collection[str] | None = None) -> list[Matured]:
        """The sealed units in sequence order (seal order, then matured_at, then unit): all, or those that matured at
        `since` or later, or those of `units`."""
        ...

    def restate(self, experiment: str, rows: Sequence[Matured], at: datetime) -> None:
        """Units as they are now where late events changed them; replaces their earlier restatement, feeds no test.
        A unit that is again what it was when it was sealed has none any more."""
        ...

    def restated(self, experiment: str) -> list[Matured]: ...
    def expire_units(self, experiment: str) -> int:
        """Remove all sealed and restated units of an experiment (retention); how many rows went. Its seals keep their
        hash and their count."""
        ...

    # -- baselines of drift
    def put_baseline(self, row: BaselineRow, parts: Sequence[BaselinePart]) -> BaselineRow:
        """Write a baseline with all its parts, once, in one transaction, as the next version of its name; as stored."""
        ...

    def add_parts(self, name: str, version: int, parts: Sequence[BaselinePart]) -> None:
        """Parts that a baseline gains later (an embedding version that came after it); what stands is not changed."""
        ...

    def baselines(self) -> list[BaselineRow]:
        """All baselines, by name and version."""
        ...

    def baseline(self, name: str, version: int | None = None) -> BaselineRow | None:
        """One version of a baseline, the newest where none is named."""
        ...

    def baseline_parts(self, name: str, version: int, stream: str | None = None,
                       part: str | None = None) -> list[BaselinePart]:
        """The parts of a baseline, by stream and part: all, those of one stream, those of one kind."""
        ...

    # -- exclusions, users
    def exclude(self, user_id: str, item_id: str, at: datetime, *, excluded: bool = True,
                kind: str = "item", late: bool = False) -> None:
        """Exclude an item for a shopper, a category, or (``event``) a past interaction by its event id; or take that
        back. A `late` one changes nothing where what stands is of the time `at` or newer."""
        ...

    def exclusions(self, since: int = 0, *, kind: str = "item") -> tuple[int, Mapping[str, frozenset[str]]]:
        """A version and what of a kind is excluded per user; only users that changed after version `since`. All kinds
        share one version: a user in whom another kind changed may be told too, with what stands."""
        ...

    def excluded_spans(self, kind: str = "item") -> Mapping[str, Mapping[str, Spans]]:
        """User -> what of a kind is or was excluded -> when: (from, until) by time, None where it still holds; the last
        200 changes of each. Nobody with nothing."""
        ...

    def forgotten(self) -> int:
        """The version of the exclusions at the last erasure: a reader that stood below it forgets all that it holds,
        and reads from 0."""
        ...

    def erase(self, users: Iterable[str], audit: Conclusion) -> dict[str, int]:
        """Remove users from matured, restated, exclusions; per table, the rows that went; with its audit row."""
        ...

    def close(self) -> None: ...
