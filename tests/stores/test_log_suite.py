"""The contract suite can fail: stores with one planted mistake each are caught by the law that is about it."""

from concurrent.futures import Future

import msgspec
import pytest

from incumbent.errors import ConflictError
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_log import MemoryLog
from incumbent.stores.store import Segment, Stores
from incumbent.testing.checks.stores import SUITE


class Forgetful(MemoryLog):
    def _add(self, records):
        new = super()._add(records)
        self._records = [r for r in self._records if not r.event_id.endswith("7")]
        return new


class Credulous(MemoryLog):
    def _add(self, records):
        super()._add(records)
        return [True] * len(records)


class Doubling(MemoryLog):
    def _add(self, records):
        self._records.extend(r for r in records if any(r.event_id in seen for seen in self._ids.values()))
        return super()._add(records)


class Restless(MemoryLog):
    def drain(self, limit=50_000):
        segment = super().drain(limit)
        return segment and Segment(segment.writer, segment.sequence, segment.records + self._records[:1])


class Hasty(MemoryLog):
    def drain(self, limit=50_000):
        segment = super().drain(limit)
        self._segment = None
        return segment


class Unsorted(MemoryLog):
    def _add(self, records):
        return super()._add(records[::-1])[::-1]


class Clinging(MemoryLog):
    def erase(self, users):
        return 0


class Recounting(MemoryLog):
    def release(self, segment):
        super().release(segment)
        self._sequence = -1


class Lossy(MemoryLog):
    def release(self, segment):
        self._segment = None


class Silent(MemoryLog):
    def append(self, records, *, max_delay_s=0.0):
        if self._closed:
            return Future()
        return super().append(records)


LOGS = {Forgetful: "threads_may_append", Credulous: "duplicates_are_told", Doubling: "any_schedule_keeps_each_once",
        Restless: "a_segment_comes_back", Hasty: "a_segment_comes_back", Unsorted: "order_is_kept",
        Clinging: "users_are_erased", Recounting: "sequences_grow", Lossy: "release_is_idempotent",
        Silent: "closed_is_closed"}


class Merging(MemoryControl):
    def put(self, day, bucket, family, states, cursor=None):
        kept = {**self._states.get((family, day, bucket), {}), **{row.key: row for row in states}}
        super().put(day, bucket, family, list(kept.values()), cursor)


class Wildcard(MemoryControl):
    def range(self, prefix, days=None):
        return [row for row in super().range("", days) if row.key.startswith(prefix.replace("%", "").replace("_", ""))]


class Halfway(MemoryControl):
    def conclude(self, conclusion, *, outbox=(), **rest):
        self._outbox.update({row.id: row for row in outbox})
        super().conclude(conclusion, **rest)


class Overwriting(MemoryControl):
    def conclude(self, conclusion, *, experiment=None, **rest):
        if experiment is not None:
            stored = self._experiments.get(experiment.name)
            experiment = msgspec.structs.replace(experiment, version=(stored.version if stored else 0) + 1)
        super().conclude(conclusion, experiment=experiment, **rest)


class Resealing(MemoryControl):
    def seal(self, experiment, day, rows, sealed_at):
        try:
            return super().seal(experiment, day, rows, sealed_at)
        except ConflictError:
            return self._seals.get((experiment, day))


class Generous(MemoryControl):
    def acquire(self, name, holder, ttl_s, now):
        self._leases.pop(name, None)
        return super().acquire(name, holder, ttl_s, now)


class Renumbering(MemoryControl):
    def publish(self, plan):
        self._plans.append(msgspec.structs.replace(plan, version=len(self._plans) + 1))
        return self._plans[-1]


class Remembering(MemoryControl):
    def erase(self, users, audit):
        self.conclude(audit)
        return {"matured": 1, "restated": 1, "exclusions": 2}


class Partial(MemoryControl):
    def exclusions(self, since=0):
        version, all_of_them = super().exclusions(since)
        return version, {user: items for user, items in all_of_them.items() if items}


CONTROLS = {Merging: "shards_are_replaced_whole", Wildcard: "ranges_are_prefixes",
            Halfway: "a_stale_writer_is_refused_whole", Overwriting: "a_race_of_writers_has_one_winner",
            Resealing: "a_day_is_sealed_once", Generous: "a_race_has_one_winner", Renumbering: "plans_are_numbered",
            Remembering: "users_are_erased_with_an_audit", Partial: "exclusions_are_told_by_version"}


@pytest.mark.parametrize("broken", [*LOGS, *CONTROLS], ids=lambda cls: cls.__name__)
def test_a_planted_mistake_is_caught(broken):
    def open_stores(config, clock, *, role="loop"):
        log = broken(clock) if broken in LOGS else MemoryLog(clock)
        return Stores(log, None, broken() if broken in CONTROLS else MemoryControl())

    results = [case.run() for case in SUITE.cases_of("broken", open_stores)]
    caught = {result.law for result in results if not result.ok}
    assert {**LOGS, **CONTROLS}[broken] in caught
    assert len(caught) < len(results) / 2, "a planted mistake breaks few laws"
