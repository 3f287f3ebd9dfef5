"""Files and directories that are made to last."""

import pytest

from incumbent.stores import sync
from incumbent.testing.faults import at, failing


def test_a_file_is_written_whole_and_only_once(tmp_path):
    path = tmp_path / "f"
    sync.write_file(path, b"x" * 100_000)
    assert path.read_bytes() == b"x" * 100_000
    with pytest.raises(FileExistsError):
        sync.write_file(path, b"y")
    assert path.read_bytes() == b"x" * 100_000


def test_a_torn_file_is_taken_away(tmp_path):
    with failing("before:os.fsync", "ENOSPC"), pytest.raises(OSError, match="No space"):
        sync.write_file(tmp_path / "f", b"data")
    assert not (tmp_path / "f").exists()


def test_every_parent_that_gained_a_name_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(sync, "sync_directory", synced.append)
    deep = tmp_path / "lake" / "t" / "day=1" / "bucket=0"
    sync.make_directory(deep, tmp_path)
    assert deep.is_dir()
    assert synced == [tmp_path, tmp_path / "lake", tmp_path / "lake" / "t", tmp_path / "lake" / "t" / "day=1"]
    synced.clear()
    sync.make_directory(deep, tmp_path)
    sync.make_directory(deep.parent / "bucket=1", tmp_path)
    assert synced == [deep.parent]


def test_syncing_reaches_the_disk(tmp_path):
    passed = []
    path = tmp_path / "f"
    path.write_bytes(b"data")
    with at("after:os.fsync", lambda: passed.append(1)):
        sync.sync_file(path)
    with at("after:os.fsync", lambda: passed.append(2)):
        sync.sync_directory(tmp_path)
    assert passed == [1, 2]
    with pytest.raises(FileNotFoundError):
        sync.sync_file(tmp_path / "nothing")
