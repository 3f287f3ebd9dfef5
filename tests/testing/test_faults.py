"""Faults at named points: both sides, the nth pass, methods and functions, in process and in a child."""

import asyncio
import errno
import signal
import subprocess
import sys

import pytest

from incumbent.errors import DataError, NotFoundError
from incumbent.stores import sync
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.faults import Crash, Point, at, disk_error, failing, resolve

COMMIT = "incumbent.stores.memory_lake.MemoryLake.commit"


def test_a_crash_after_has_happened_and_a_crash_before_has_not(tmp_path):
    for when, there in (("before", False), ("after", True)):
        path = tmp_path / when
        with pytest.raises(Crash), failing(f"{when}:incumbent.stores.sync.make_directory", Crash()):
            sync.make_directory(path, tmp_path)
        assert path.exists() == there


def test_only_the_nth_pass_fails():
    lake = MemoryLake(4)
    with failing(f"before:{COMMIT}", "EIO", nth=3):
        lake.commit([], "w", 0)
        lake.commit([], "w", 1)
        with pytest.raises(OSError) as caught:
            lake.commit([], "w", 2)
        lake.commit([], "w", 3)
    assert caught.value.errno == errno.EIO
    assert MemoryLake.commit.__qualname__ == "MemoryLake.commit" and not hasattr(MemoryLake.commit, "__wrapped__")


def outer(value):
    return inner(value)


def inner(value):
    return value


def test_only_a_pass_inside_another_function_counts():
    name = __name__
    with failing(f"after:{name}.inner@{name}.outer", Crash()):
        assert sys.modules[name].inner(1) == 1
        with pytest.raises(Crash):
            sys.modules[name].outer(2)
    with pytest.raises(DataError):
        Point.parse("after:a.b@")


def test_a_function_imported_by_name_is_reached():
    from incumbent.stores import dedup

    with failing("before:incumbent.stores.delta_read.read", Crash()), pytest.raises(Crash):
        dedup.read(None, "item", [])
    assert not hasattr(dedup.read, "__wrapped__")


class Kinds:
    @staticmethod
    def static():
        return 1

    @classmethod
    def of_class(cls):
        return cls.__name__

    async def later(self):
        return 3


def test_static_class_and_async_methods(monkeypatch):
    monkeypatch.setitem(sys.modules, "kinds_under_test", sys.modules[__name__])
    passed = []
    for name in ("static", "of_class", "later"):
        with at(f"after:kinds_under_test.Kinds.{name}", lambda name=name: passed.append(name)):
            answer = getattr(Kinds(), name)()
            assert (asyncio.run(answer) if name == "later" else answer) in (1, "Kinds", 3)
    assert passed == ["static", "of_class", "later"]


@pytest.mark.parametrize("text", ["", "commit", "during:incumbent.clock.Clock.now", "before:"])
def test_what_is_no_point_is_refused(text):
    with pytest.raises(DataError):
        Point.parse(text)


@pytest.mark.parametrize("target", ["incumbent.stores.sync.nothing", "incumbent.nowhere.f", "no_such_package.f",
                                    "incumbent.stores.delta.CONFIGURATION"])
def test_what_is_no_function_is_refused(target):
    with pytest.raises(NotFoundError):
        resolve(target)


def test_errno_names():
    assert disk_error("ENOSPC").errno == errno.ENOSPC
    with pytest.raises(DataError):
        disk_error("EFULL")


def child(tmp_path, *arguments):
    """A module that passes `sync_directory` three times and counts, run under faults."""
    (tmp_path / "victim.py").write_text(
        "import sys, pathlib\nfrom incumbent.stores.sync import sync_directory\n"
        "for n in range(3):\n    sync_directory(pathlib.Path(sys.argv[1]))\n    print(n, flush=True)\n")
    return subprocess.run([sys.executable, "-m", "incumbent.testing.faults", *arguments, "--", "victim", str(tmp_path)],
                          cwd=tmp_path, capture_output=True, text=True, timeout=60)


def test_a_child_is_killed_at_its_point(tmp_path):
    done = child(tmp_path, "--kill", "after:incumbent.stores.sync.sync_directory", "--nth", "2")
    assert done.returncode == -signal.SIGKILL and done.stdout == "0\n"


def test_a_child_meets_a_full_disk(tmp_path):
    done = child(tmp_path, "--fail", "before:incumbent.stores.sync.sync_directory", "ENOSPC", "--nth", "3")
    assert done.returncode == 1 and done.stdout == "0\n1\n" and "No space left" in done.stderr


def test_a_child_without_a_fault_runs_to_its_end(tmp_path):
    done = child(tmp_path, "--kill", "after:incumbent.stores.sync.sync_directory", "--nth", "9")
    assert done.returncode == 0 and done.stdout == "0\n1\n2\n"
