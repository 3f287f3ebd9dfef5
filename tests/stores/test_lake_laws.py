"""The laws of a lake over ours, and over lakes that break them."""

import pytest

from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.partitions import split
from incumbent.testing.checks.lake_samples import LAKES, clicks
from incumbent.testing.checks.lakes import MAKERS

CASES = [case for name, make in MAKERS.items() for case in LAKES.cases_of(name, make)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_law(case):
    case.check()


class ForgetsSequences(MemoryLake):
    """Counts a segment that is sent again as applied, and keeps the rows of a late repeat of `replace`."""

    def _append(self, into, rows, writer, sequence):
        into.marks.pop(writer, None)
        return super()._append(into, rows, writer, sequence)

    def replace(self, table, partition, rows, writer, sequence):
        self._tables[table].marks.clear()
        return super().replace(table, partition, rows, writer, sequence)


class KeepsDuplicates(MemoryLake):
    def _append(self, into, rows, writer, sequence):
        into.ids.clear()
        return super()._append(into, rows, writer, sequence)


class LooksOnlyWhereItFalls(MemoryLake):
    """Knows the ids of a row's own partition alone."""

    def _append(self, into, rows, writer, sequence):
        into._ids = {i for partition in split(rows) for part in into.parts.get(partition, ())
                     for i in part["event_id"].to_pylist()}
        return super()._append(into, rows, writer, sequence)


class DropsLateSegments(MemoryLake):
    """Takes a lower sequence for one that it has seen."""

    def _append(self, into, rows, writer, sequence):
        return super()._append(into, rows, writer, max(sequence, into.marks.get(writer, sequence)))


class CompactionIsChange(MemoryLake):
    def compact(self, before):
        for rows in self._tables.values():
            if rows.parts:
                rows.touch(rows.parts)
        return super().compact(before)


class ClosedPeriods(MemoryLake):
    def scan(self, table, period=None, buckets=None, columns=None, users=None):
        if period is not None and period.start < period.end:
            period = type(period)(period.start, period.end.replace(microsecond=1))
        return super().scan(table, period, buckets, columns, users)


class KeepsQuarantine(MemoryLake):
    def _erase(self, table, rows, users):
        return 0 if table == "quarantine" else super()._erase(table, rows, users)


class ExpiresADayTooMany(MemoryLake):
    def expire(self, table, before):
        return super().expire(table, before.replace(day=before.day + 1))


@pytest.mark.parametrize(("broken", "laws"), [
    (ForgetsSequences, {"a_segment_enters_once", "an_event_enters_once", "a_partition_is_replaced_once"}),
    (KeepsDuplicates, {"an_event_enters_once"}),
    (LooksOnlyWhereItFalls, {"an_event_id_is_kept_once_whatever_comes_with_it"}),
    (DropsLateSegments, {"order_does_not_matter"}),
    (CompactionIsChange, {"changes_are_exact"}),
    (ClosedPeriods, {"a_scan_filters"}),
    (KeepsQuarantine, {"an_erased_user_is_gone"}),
    (ExpiresADayTooMany, {"whole_days_expire"}),
])
def test_a_broken_lake_is_caught(broken, laws):
    failed = {case.law.name for case in LAKES.cases_of("broken", lambda directory, buckets: broken(buckets))
              if not case.run().ok}
    assert laws <= failed


def test_what_is_erased_is_in_no_buffer_of_the_rows_beside_it():
    """A segment of many users and days is taken apart; no part of it keeps the bytes of the whole."""
    lake = MemoryLake(4)
    lake.commit(clicks(range(120), users=7, hours=1.0), "w1", 0)
    lake.erase(["user-3"])
    columns = [part["user_id"] for parts in lake._tables["feedback"].parts.values() for part in parts]
    held = b"".join(buffer.to_pybytes() for column in columns for chunk in column.chunks for buffer in chunk.buffers()
                    if buffer is not None)
    assert b"user-3" not in held and b"user-4" in held
