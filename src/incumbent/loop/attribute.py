"""attribute: the outcomes of every (day, user bucket) that events touched, rebuilt whole.

One run asks the lake what changed since its cursors, derives which outcome partitions that can touch, and replaces
each that comes out otherwise than it stands. Before the first replacement the plan (partitions, sequences, the versions
it stands on) is written to Control; after the last one the cursors move to those versions. A crash anywhere is
harmless: the same plan is carried out again, replacements that were done are recognised by their sequence, and what
arrived meanwhile is a later version, which the next run finds. Where Control was restored from an older copy, the lake
would refuse its sequences as done already: a plan begins above the lake's, and rebuilds what changed since the copy's
cursors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent import logs
from incumbent.clock import Clock
from incumbent.events.ids import user_bucket
from incumbent.events.window import Window, day_of
from incumbent.loop import relations, watermark
from incumbent.loop.credited import TermsOf
from incumbent.loop.definitions import Definitions, reach_days, terms_of
from incumbent.loop.foreign import Strangers, Stray, woken
from incumbent.loop.leases import Held
from incumbent.loop.outcomes import FEEDBACK_COLUMNS, IMPRESSION_COLUMNS, outcome_rows
from incumbent.loop.readings import Meter, by_buckets, by_days
from incumbent.loop.relations import DuckEngine, Engine
from incumbent.stores.store import Control, Lake, Partition
from incumbent.stores.tables import PARTITION_COLUMNS

CURSOR = "attribute"
_log = logs.get(__name__)
STRAY_DAYS = 45  # an impression that comes later than this no longer turns feedback of somebody else that names it
RUN_DAYS = 8  # days of one bucket that are rebuilt from one reading


class Plan(Struct, frozen=True):
    """What one run does: partition i is replaced under sequence + i, on the lake's versions named here."""

    partitions: list[Partition]
    sequence: int
    impression: int
    feedback: int
    at: datetime
    until: datetime | None = None  # the low watermark before the lake was asked


class AttributeCursor(Struct, frozen=True):
    """Where attribution stands: what the lake held at `at` is in the outcomes, thus all acknowledged by `until`."""

    impression: int = -1
    feedback: int = -1
    sequence: int = 0
    at: datetime | None = None
    until: datetime | None = None
    strays: list[Stray] = []  # feedback that names requests which are not its user's: see `foreign`
    plan: Plan | None = None


class Attributed(Struct, frozen=True):
    """What a run did; `reasons` counts rows without credit by their reason.

    `stopped` says why it did not do all that there was, None where it did.
    """

    partitions: int = 0
    rows: int = 0
    reasons: dict[str, int] = {}
    stopped: str | None = None


class Attributor:
    """Keeps the lake's outcomes exact; one at a time, under the lease `attribute`.

    `definitions` is asked at every run, so that an experiment that starts is credited by its own terms. Days older than
    `retention_days` are left as they are: their impressions may have expired, and erasure removes outcomes itself.
    """

    def __init__(self, lake: Lake, control: Control, clock: Clock, definitions: Callable[[], Definitions], *,
                 holder: str = "loop", lease_s: float = 30.0, retention_days: int | None = None,
                 engine: Engine | None = None) -> None:
        self._lake, self._control, self._clock, self._definitions = lake, control, clock, definitions
        self._holder, self._lease_s, self._retention_days, self._engine = holder, lease_s, retention_days, engine

    def run_once(self) -> Attributed:
        """Bring the outcomes up to what the lake holds now."""
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Attributed(stopped="another process holds the lease")
            cursor = read_cursor(self._control)
            known = self._definitions()
            reach = reach_days(known)
            plan = cursor.plan or self._plan(cursor, reach)
            if cursor.plan is None:
                self._write(msgspec.structs.replace(cursor, plan=plan))
            strangers = Strangers(self._lake, reach)
            done = self._carry_out(plan, terms_of(known), reach, lease, strangers)
            if done.stopped is None:
                self._write(AttributeCursor(plan.impression, plan.feedback, plan.sequence + len(plan.partitions),
                                            plan.at, plan.until, _strays(cursor, plan, strangers)))
            return done

    def _plan(self, cursor: AttributeCursor, reach: int) -> Plan:
        at, until = self._clock.now(), watermark.low(self._control).until  # before the lake is asked
        shown, impressions = self._lake.changes("impression", cursor.impression)
        told, feedback = self._lake.changes("feedback", cursor.feedback)
        touched: set[Partition] = set()
        if impressions or feedback:
            held = self._lake.changes("feedback", -1)[1]
            feedback |= woken(cursor.strays, impressions)
            # a purchase looks back `reach` days, and a refund to a purchase of `reach` days before
            touched = set(feedback) | within(held, impressions, 2 * reach) | within(held, feedback, reach)
        if self._retention_days is not None:
            oldest = day_of(at) - timedelta(days=self._retention_days - 2 * reach)
            touched = {partition for partition in touched if partition.day >= oldest}
        partitions = sorted(touched, key=lambda p: (p.bucket, p.day))
        return Plan(partitions, self._sequence(cursor, partitions), shown, told, at, until)

    def _sequence(self, cursor: AttributeCursor, partitions: list[Partition]) -> int:
        """The cursor's, or above the lake's where the lake has gone further than a Control that was restored."""
        last = self._lake.replaced("outcome", partitions, CURSOR)
        if last is None or last < cursor.sequence:
            return cursor.sequence
        _log.warning("control is older than the lake; outcomes go on above the lake's sequence",
                     control_sequence=cursor.sequence, lake_sequence=last)
        return last + 1

    def _carry_out(self, plan: Plan, terms: TermsOf, reach: int, lease: Held,
                   strangers: Strangers) -> Attributed:
        rows, done = 0, 0
        reasons: dict[str, int] = {}
        sequence = {partition: plan.sequence + i for i, partition in enumerate(plan.partitions)}
        for days, buckets in alike(plan.partitions):
            meter = Meter()
            for batch in by_buckets(buckets, meter):
                made = self._rebuild(days, batch, terms, reach, meter, strangers)
                if not lease.renew():
                    return Attributed(done, rows, reasons, "the lease went to another process")
                for partition, ours in split(made, days, batch, self._lake.buckets):
                    if not self._stands(partition, ours):
                        self._lake.replace("outcome", partition, ours, CURSOR, sequence[partition])
                    done += 1
                rows += made.num_rows
                for count in pc.value_counts(made["reason"].drop_null()).to_pylist():
                    reasons[count["values"]] = reasons.get(count["values"], 0) + count["counts"]
        return Attributed(done, rows, reasons)

    def _stands(self, partition: Partition, ours: pa.Table) -> bool:
        """Whether these are a partition's outcomes already, as most often where late feedback touched an earlier day:
        then nothing is written, and what stands on them is not made again."""
        names = [name for name in ours.column_names if name not in PARTITION_COLUMNS]
        there = self._lake.scan("outcome", Window.of_day(partition.day), [partition.bucket], names)
        return there.num_rows == ours.num_rows and bool(there.equals(ours.select(names).cast(there.schema)))

    def _rebuild(self, days: list[date], buckets: list[int], terms: TermsOf, reach: int, meter: Meter,
                 strangers: Strangers) -> pa.Table:
        """The outcome rows of consecutive days of some buckets."""
        first, last = days[0], days[-1]
        feedback = self._lake.scan("feedback", Window.of_days(first, last), buckets, FEEDBACK_COLUMNS)
        if feedback.num_rows == 0:
            return outcome_rows(feedback, [], terms, self._start(), reach)
        refunds = feedback.filter(pc.equal(feedback["action"], "refund"))
        since = first
        if refunds.num_rows:
            window = Window.of_days(first - timedelta(days=reach), first - timedelta(days=1))
            before = self._lake.scan("feedback", window, buckets, FEEDBACK_COLUMNS,
                                     users=refunds["user_id"].unique().to_pylist())
            before = before.filter(pc.is_in(before["action"], pa.array(relations.MONEY)))
            feedback = pa.concat_tables([feedback, before])
            since = min(feedback["time"].cast(pa.date32()).unique().to_pylist())
        pieces = by_days(self._lake, "impression", since - timedelta(days=reach), last, buckets, IMPRESSION_COLUMNS,
                         meter, users=feedback["user_id"].unique().to_pylist())
        made = outcome_rows(feedback, pieces, terms, self._start(), reach, strangers)
        return made.filter(pc.greater_equal(made["time"].cast(pa.date32()), pa.scalar(first)))

    def _start(self) -> Engine:
        self._engine = self._engine or DuckEngine()
        return self._engine

    def _write(self, cursor: AttributeCursor) -> None:
        self._control.set_cursor(CURSOR, msgspec.json.encode(cursor).decode())


def read_cursor(control: Control) -> AttributeCursor:
    """Where attribution stands; the beginning where it never ran."""
    text = control.cursor(CURSOR)
    return AttributeCursor() if text is None else msgspec.json.decode(text, type=AttributeCursor)


def _strays(cursor: AttributeCursor, plan: Plan, strangers: Strangers) -> list[Stray]:
    """What has to be looked up again: of the partitions just rebuilt what was found, of the others what was known."""
    rebuilt, oldest = set(plan.partitions), day_of(plan.at) - timedelta(days=STRAY_DAYS)
    kept = {stray for stray in cursor.strays if Partition(stray[1], stray[2]) not in rebuilt} | strangers.strays
    return sorted(stray for stray in kept if stray[1] >= oldest)


def within(held: frozenset[Partition], changed: frozenset[Partition], days: int) -> set[Partition]:
    """The held partitions of the same bucket that lie 0 to `days` days after a changed one.

    >>> day = date(2026, 3, 1)
    >>> held = frozenset(Partition(day + timedelta(days=n), 0) for n in range(5))
    >>> [p.day.day for p in sorted(within(held, frozenset({Partition(day, 0)}), 2))]
    [1, 2, 3]
    """
    by_bucket: dict[int, list[date]] = {}
    for partition in changed:
        by_bucket.setdefault(partition.bucket, []).append(partition.day)
    return {p for p in held
            if any(0 <= (p.day - day).days <= days for day in by_bucket.get(p.bucket, ()))}


def alike(partitions: list[Partition], longest: int = RUN_DAYS) -> list[tuple[list[date], list[int]]]:
    """Partitions as runs of consecutive days, each with the buckets that have exactly this run.

    >>> day, next_day = date(2026, 3, 1), date(2026, 3, 2)
    >>> alike([Partition(day, 0), Partition(next_day, 0), Partition(day, 1), Partition(next_day, 1)]) == [
    ...     ([day, next_day], [0, 1])]
    True
    """
    found: dict[tuple[date, ...], list[int]] = {}
    run: list[Partition] = []
    for partition in [*sorted(partitions, key=lambda p: (p.bucket, p.day)), None]:
        follows = run and partition is not None and partition.bucket == run[-1].bucket and (
            partition.day == run[-1].day + timedelta(days=1)) and len(run) < longest
        if run and not follows:
            found.setdefault(tuple(p.day for p in run), []).append(run[0].bucket)
            run = []
        if partition is not None:
            run.append(partition)
    return [(list(days), buckets) for days, buckets in sorted(found.items())]


def split(
    rows: pa.Table, days: list[date], buckets: list[int], of: int,
) -> Iterator[tuple[Partition, pa.Table]]:
    """The rows of each partition, empty ones too."""
    users = rows["user_id"].combine_chunks().dictionary_encode()
    known = np.array([user_bucket(user, of) for user in users.dictionary.to_pylist()], np.int64)
    bucket = known[users.indices.to_numpy()] if len(users) else np.zeros(0, np.int64)
    day = rows["time"].cast(pa.date32())
    for number in buckets:
        own = pa.array(bucket == number)
        for when in days:
            yield Partition(when, number), rows.filter(pc.and_(own, pc.equal(day, pa.scalar(when))))
