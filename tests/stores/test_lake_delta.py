"""What is special about the lake of Delta tables: its folder, older tables, torn files, other readers."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from incumbent.errors import ConflictError, StoreError
from incumbent.events.schema import Item
from incumbent.events.window import Window
from incumbent.stores import delta_log
from incumbent.stores.columns import to_arrow
from incumbent.stores.lake import DeltaLake
from incumbent.testing.checks.lake_samples import (
    NOON,
    click,
    clicks,
    event_id,
    events_in,
    ids_in,
    impression,
    one_of_each,
)
from incumbent.testing.faults import failing


@pytest.fixture
def lake(tmp_path):
    return DeltaLake(tmp_path / "lake", 4, checkpoint_every=5)


def test_any_delta_reader_reads_it(lake):
    lake.commit(one_of_each(), "w", 0)
    for table in ("impression", "feedback", "embedding", "conclusion", "quarantine"):
        theirs = DeltaTable(lake.directory / table)
        ours = lake.scan(table)
        assert sorted(theirs.to_pyarrow_table()["event_id"].to_pylist()) == ids_in(lake, table)
        assert theirs.metadata().partition_columns == ["day", "bucket"]
        assert (theirs.protocol().min_reader_version, theirs.protocol().min_writer_version) == (1, 2)
        assert set(ours.column_names) == {field.name for field in theirs.schema().fields}


def test_data_is_on_disk_before_the_log_names_it(lake, monkeypatch):
    """In the order of system calls: each data file is synced, then the entry is made, then synced with its folder."""
    lake.commit(clicks(range(3)), "w", 0)
    calls = []
    for name in ("sync_file", "sync_directory"):
        from incumbent.stores import sync

        real = getattr(sync, name)
        monkeypatch.setattr(sync, name, lambda path, real=real: (calls.append(path), real(path)))
    real_commit = DeltaTable.create_write_transaction
    monkeypatch.setattr(DeltaTable, "create_write_transaction",
                        lambda *a, **k: (calls.append("entry"), real_commit(*a, **k)))
    done = lake.commit(clicks(range(10, 20)), "w", 1)
    at = calls.index("entry")
    data = {path for path in calls[:at] if path.suffix == ".parquet"}
    assert len(data) == len(done.partitions) == 2
    assert {path.parent for path in data} <= set(calls[:at])
    log = lake.directory / "feedback" / "_delta_log"
    assert calls[at + 1:] == [log / delta_log.entry_name(2), log]


def test_the_log_entry_of_a_dead_process_is_synced_before_the_next(lake, monkeypatch):
    lake.commit(clicks(range(3)), "w", 0)
    other = DeltaLake(lake.directory, 4)
    other.commit(clicks(range(3, 6)), "v", 0)  # as if it had died before its sync
    synced = []
    monkeypatch.setattr("incumbent.stores.sync.sync_file", lambda path: synced.append(path.name))
    lake.commit(clicks(range(6, 9)), "w", 1)
    entries = [name for name in synced if name.endswith(".json")]
    assert entries == [delta_log.entry_name(2), delta_log.entry_name(3)]


def test_the_log_holds_statistics_of_ids_and_times_only(lake):
    lake.commit([*clicks(range(5)), impression(99)], "w", 0)
    for table in ("feedback", "impression"):
        entry = (lake.directory / table / "_delta_log" / delta_log.entry_name(1)).read_text()
        adds = [json.loads(line)["add"] for line in entry.splitlines() if '"add"' in line]
        assert adds and all(set(json.loads(add["stats"])["minValues"]) == {"event_id", "time"} for add in adds)


def test_torn_and_foreign_files_are_invisible(lake):
    lake.commit(clicks(range(8)), "w", 0)
    table = lake.directory / "feedback"
    good = next(table.glob("day=*/bucket=*/*.parquet"))
    (good.parent / "part-torn.zstd.parquet").write_bytes(good.read_bytes()[:100])
    (good.parent / "part-whole-but-never-committed.zstd.parquet").write_bytes(good.read_bytes())
    (table / "_delta_log" / "_commit_1234.json.tmp").write_text('{"add": {"pa')
    expected = sorted(event.event_id for event in clicks(range(8)))
    assert ids_in(lake) == expected
    again = DeltaLake(lake.directory, 4)
    assert ids_in(again) == expected
    again.commit(clicks(range(8, 10)), "w", 1)
    again.erase(["user-0"])
    assert {path.name for path in table.glob("day=*/bucket=*/*")} == {
        uri.rpartition("/")[2] for uri in DeltaTable(table).file_uris()}


def test_a_torn_checkpoint_is_put_aside(lake):
    for sequence in range(7):
        lake.commit(clicks(range(sequence * 3, sequence * 3 + 3)), "w", sequence)
    log = lake.directory / "feedback" / "_delta_log"
    checkpoint = next(log.glob("*.checkpoint.parquet"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:50])
    again = DeltaLake(lake.directory, 4)
    assert again.commit(clicks(range(21, 24)), "w", 7).rows == 3
    assert len(ids_in(again)) == 24


def test_a_reader_that_slept_while_the_log_was_cleaned_wakes_up(lake):
    """Old log entries go once a checkpoint holds them; cursors from before see everything as changed."""
    lake.commit(clicks(range(3)), "w", 0)
    sleeper = DeltaLake(lake.directory, 4)
    version, _ = sleeper.changes("feedback", -1)
    for sequence in range(1, 12):
        lake.commit(clicks(range(sequence * 3, sequence * 3 + 3)), "w", sequence)
    lake._folders["feedback"].checkpoint()
    log = lake.directory / "feedback" / "_delta_log"
    for number in range(12):
        (log / delta_log.entry_name(number)).unlink()
    assert len(ids_in(sleeper)) == 36 == len(ids_in(DeltaLake(lake.directory, 4)))
    now, changed = sleeper.changes("feedback", version)
    assert now == 12 and changed == {file.partition for file in lake._folders["feedback"].snapshot().files.values()}
    assert sleeper.commit(clicks(range(36, 39)), "v", 0).rows == 3
    assert not lake.commit(clicks(range(33, 36)), "w", 11).applied


def test_a_cursor_of_another_lake_sees_everything_as_changed(lake):
    done = lake.commit(clicks(range(3)), "w", 0)
    assert lake.changes("feedback", 1000) == (1, done.partitions)


def test_a_table_of_an_older_version_is_read_and_appended_to(lake):
    """Fewer columns, and fewer fields inside a slot."""
    rows = to_arrow("impression", [impression(1), impression(2)], 4)
    slots = rows["slots"].combine_chunks()
    kept = [field for field in slots.type.value_type if field.name != "group_id"]
    narrow = pa.ListArray.from_arrays(slots.offsets, pa.StructArray.from_arrays(
        [slots.values.field(field.name) for field in kept], fields=kept))
    rows = rows.set_column(rows.column_names.index("slots"), "slots", narrow).drop_columns(["context", "latency_ms"])
    write_deltalake(lake.directory / "impression", rows, partition_by=["day", "bucket"])
    old = events_in(lake, "impression")
    assert [event.slots[1].group_id for event in old] == [None, None]
    assert [event.context for event in old] == [{}, {}] and old[0].models == impression(1).models
    assert lake.commit([impression(2), impression(3)], "w", 0).rows == 1
    new = events_in(lake, "impression")
    assert [event.slots[1].group_id for event in new] == [None, None, "g"]
    assert new[2] == impression(3)
    assert lake.compact(NOON + timedelta(days=1))["impression"] == 2
    assert events_in(lake, "impression") == new
    theirs = DeltaTable(lake.directory / "impression")
    assert "context" in {field.name for field in theirs.schema().fields}


def test_a_reader_survives_a_vacuum_under_it(lake, monkeypatch):
    for sequence in range(3):
        lake.commit(clicks(range(sequence * 9, sequence * 9 + 9)), "w", sequence)
    reader = DeltaLake(lake.directory, 4)
    stale = reader._folders["feedback"].snapshot()
    lake.erase(["user-1"])
    answers = iter([stale])
    real = reader._folders["feedback"].snapshot
    monkeypatch.setattr(reader._folders["feedback"], "snapshot", lambda: next(answers, None) or real())
    assert ids_in(reader) == ids_in(lake)


def test_a_damaged_data_file_is_a_clear_error(lake):
    lake.commit(clicks(range(3)), "w", 0)
    path = next((lake.directory / "feedback").glob("day=*/bucket=*/*.parquet"))
    path.write_bytes(b"PAR1 this is no Parquet PAR1")
    with pytest.raises(StoreError, match=path.name):
        lake.scan("feedback")


def test_a_full_disk_says_what_to_do_and_where(lake):
    with failing("before:pyarrow.parquet.write_table", "ENOSPC"), pytest.raises(StoreError) as caught:
        lake.commit(clicks(range(3)), "w", 0)
    text = str(caught.value)
    assert "No space left" in text and "feedback" in text and "nothing acknowledged is lost" in text
    assert lake.commit(clicks(range(3)), "w", 0).rows == 3


def test_another_number_of_buckets_is_refused(lake):
    with pytest.raises(ConflictError, match=r"Got 16. Expected 4"):
        DeltaLake(lake.directory, 16)


def test_buckets_and_times_prune_files(lake, monkeypatch):
    events = clicks(range(48), users=9, hours=1)
    lake.commit(events, "w", 0)
    read = []
    monkeypatch.setattr("incumbent.stores.lake.read",
                        lambda root, table, files, *rest: (read.append(list(files)), pa.table({}))[1])
    lake.scan("feedback", Window.of_day(date(2026, 3, 2)), buckets=[1])
    assert {(file.partition.day, file.partition.bucket) for file in read[0]} == {(date(2026, 3, 2), 1)}
    lake.scan("feedback", Window(NOON - timedelta(days=1), NOON - timedelta(microseconds=1)))
    assert len(read) == 1, "a file was opened for a period before its first row"


def test_the_ends_of_time_are_stored(lake):
    """The first and the last moment that a clock can show do not stop a commit, nor its statistics a scan."""
    moments = [datetime.min.replace(tzinfo=UTC), NOON, datetime.max.replace(tzinfo=UTC)]
    items = [Item(event_id=event_id(n), time=moment, item_id="i") for n, moment in enumerate(moments)]
    lake.commit(items, "w", 0)
    for handle in (lake, DeltaLake(lake.directory, 4)):
        assert events_in(handle, "item") == items
        assert ids_in(handle, "item", period=Window(moments[0], moments[2])) == [event_id(0), event_id(1)]


def test_threads_take_turns(lake):
    def work(writer):
        for sequence in range(5):
            lake.commit([click(writer * 1000 + sequence)], f"w{writer}", sequence)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids_in(lake)) == 20


def test_the_day_in_progress_is_merged_by_eights(lake):
    """Each call merges only what came since, so that a row is rewritten some times and not at every call."""
    sizes = []
    for sequence in range(60):
        lake.commit([click(sequence)], "w", sequence)
        lake.compact(NOON + timedelta(minutes=sequence))
        sizes.append(sorted(file.rows for file in lake._folders["feedback"].snapshot().files.values()))
    assert max(map(len, sizes)) <= 16 and sum(sizes[-1]) == 60
    rewritten = sum(max(rows) > max(before) for before, rows in pairwise(sizes))
    assert 1 <= rewritten <= 10, rewritten
    assert lake.compact(NOON + timedelta(days=1))["feedback"] == len(sizes[-1]) > 1
    assert len(lake._folders["feedback"].snapshot().files) == 1 and len(ids_in(lake)) == 60


def test_vacuum_keeps_what_a_reader_may_have_open(lake):
    for sequence in range(3):
        lake.commit(clicks(range(sequence * 9, sequence * 9 + 9)), "w", sequence)
    before = set((lake.directory / "feedback").rglob("*.parquet"))
    lake.compact(NOON + timedelta(days=1))
    assert before <= set((lake.directory / "feedback").rglob("*.parquet"))
    DeltaLake(lake.directory, 4, keep_hours=0).compact(NOON + timedelta(days=1))
    left = {path for path in (lake.directory / "feedback").rglob("*.parquet") if "_delta_log" not in path.parts}
    assert left.isdisjoint(before) and len(left) == 2
    assert all(pq.read_metadata(path).num_rows for path in left)
