"""Clocks: aware, in UTC, and the replay clock the same in every process and never back."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from incumbent.clock import ManualClock, ReplayClock, SystemClock
from incumbent.errors import ConflictError, DataError

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_system_clock_is_aware_and_its_monotonic_does_not_step():
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    ticks = [clock.monotonic() for _ in range(100)]
    assert ticks == sorted(ticks)


class TestManual:
    def test_both_times_advance(self):
        clock = ManualClock(START)
        clock.advance(90)
        assert clock.now() == START + timedelta(seconds=90) and clock.monotonic() == 90.0

    def test_a_stepped_clock_moves_business_time_alone(self):
        clock = ManualClock(START)
        clock.advance(10)
        clock.advance(-4)
        assert clock.now() == START + timedelta(seconds=6) and clock.monotonic() == 10.0
        clock.set(START)
        assert clock.now() == START and clock.monotonic() == 10.0

    def test_other_zones_become_utc_and_no_zone_is_refused(self):
        clock = ManualClock(datetime(2026, 3, 1, 2, tzinfo=timezone(timedelta(hours=2))))
        assert clock.now() == START and clock.now().tzinfo is UTC
        with pytest.raises(DataError, match="a time needs a zone"):
            ManualClock(datetime(2026, 3, 1))

    def test_a_monotonic_can_be_given(self):
        assert ManualClock(START, monotonic=lambda: 7.0).monotonic() == 7.0


class TestReplay:
    def test_all_processes_see_one_time(self, tmp_path):
        clock = ReplayClock(tmp_path, start=START)
        code = ("import sys; from datetime import datetime, UTC; from incumbent.clock import ReplayClock\n"
                "clock = ReplayClock(sys.argv[1]); print(clock.now().isoformat())\n"
                "clock.advance_to(datetime(2026, 3, 2, tzinfo=UTC))")
        out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert out.stdout.strip() == "2026-03-01T00:00:00+00:00"
        assert clock.now() == datetime(2026, 3, 2, tzinfo=UTC)

    def test_it_does_not_step_back(self, tmp_path):
        clock = ReplayClock(tmp_path, start=START)
        clock.advance_to(START + timedelta(microseconds=1))
        with pytest.raises(DataError, match="does not step back"):
            clock.advance_to(START)
        assert clock.now() == START + timedelta(microseconds=1)

    def test_a_second_start_joins_the_running_clock(self, tmp_path):
        ReplayClock(tmp_path, start=START).advance_to(START + timedelta(days=3))
        assert ReplayClock(tmp_path, start=START).now() == START + timedelta(days=3)

    def test_times_before_1970_and_far_ahead_survive(self, tmp_path):
        for name, moment in (("old", datetime(1900, 1, 1, tzinfo=UTC)), ("new", datetime(9999, 1, 1, tzinfo=UTC))):
            assert ReplayClock(tmp_path / name, start=moment).now() == moment

    def test_no_start_and_a_damaged_file_are_told(self, tmp_path):
        with pytest.raises(ConflictError, match=r"no start.*replay_start"):
            ReplayClock(tmp_path)
        (tmp_path / "replay.clock").write_bytes(b"1234")
        with pytest.raises(ConflictError, match=r"damaged.*8 bytes"):
            ReplayClock(tmp_path, start=START)

    def test_its_monotonic_is_the_machines(self, tmp_path):
        clock = ReplayClock(tmp_path, start=START)
        assert clock.monotonic() <= clock.monotonic()


def test_nothing_else_reads_the_time():
    """`time.time`, `time.monotonic`, `datetime.now` and `datetime.utcnow` stand in clock.py alone."""
    banned = {("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("datetime", "now"),
              ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
    root = Path(__file__).resolve().parents[1] / "src" / "incumbent"
    found = [f"{path.relative_to(root)}:{node.lineno}" for path in root.rglob("*.py") if path.name != "clock.py"
             for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
             and (node.value.id, node.attr) in banned]
    assert not found, found
