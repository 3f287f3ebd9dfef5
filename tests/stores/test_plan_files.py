"""Plans outlive the Control that published them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from incumbent.errors import StoreError
from incumbent.events.plan import ServingPlan
from incumbent.experiments.audit import Auditor
from incumbent.stores.control import FILE, SqlControl
from incumbent.stores.plan_files import PlanFiles
from incumbent.testing.golden import impression

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FIRST = ServingPlan(version=0, time=NOW, surfaces={}, models={})
SECOND = msgspec.structs.replace(FIRST, delisted=["i9"])


def restored(directory: Path) -> SqlControl:
    """A Control that published two plans, put back from a copy made after the first."""
    control = SqlControl.in_directory(directory)
    control.publish(FIRST)
    control.close()
    shutil.copy(directory / FILE, directory / "copy")
    control = SqlControl.in_directory(directory)
    control.publish(SECOND)
    control.close()
    for path in directory.glob(f"{FILE}*"):
        path.unlink()
    (directory / "copy").rename(directory / FILE)
    return SqlControl.in_directory(directory)


def test_a_restored_control_still_knows_the_plans_made_since_its_copy(tmp_path: Path) -> None:
    control = restored(tmp_path)
    assert control.plan_version() == 1 and control.plan() == FIRST.stamped(1, NOW)
    found = control.plan(SECOND.hash)
    assert found is not None and found.delisted == ["i9"] and found.hash == SECOND.hash
    assert control.plan("0" * 16) is None and control.plan("../control") is None
    shown = msgspec.structs.replace(impression("r1", NOW, "u1", "home", "-", ["a:solo:C"]), experiment="e",
                                    plan=SECOND.hash)
    seen: list[ServingPlan | None] = []

    def plan_of(hash: str) -> ServingPlan | None:
        seen.append(control.plan(hash))
        return seen[-1]

    Auditor("e", plan_of).audit([shown])
    assert seen == [found]
    assert control.publish(SECOND).version == 2
    control.close()


def test_the_file_is_there_before_the_plan_is_and_a_disk_that_refuses_publishes_nothing(tmp_path: Path) -> None:
    control = SqlControl.in_directory(tmp_path)
    (tmp_path / "plans").write_text("in the way")
    with pytest.raises(StoreError, match="a plan cannot be written"):
        control.publish(FIRST)
    assert control.plan() is None
    (tmp_path / "plans").unlink()
    control.publish(FIRST)
    assert [path.name for path in (tmp_path / "plans").iterdir()] == [f"{FIRST.hash}.json"]
    (tmp_path / "plans" / f"{FIRST.hash}.json").unlink()
    control.publish(FIRST)  # the current one again: a Control from before there were files makes it good
    assert PlanFiles(tmp_path).find(FIRST.hash) is not None
    control.close()


def test_what_a_dead_process_left_unfinished_is_no_plan(tmp_path: Path) -> None:
    files = PlanFiles(tmp_path)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / f"{FIRST.hash}.new").write_bytes(b"{")
    assert files.find(FIRST.hash) is None
    files.keep(FIRST)
    assert files.find(FIRST.hash) == FIRST
    (tmp_path / "plans" / f"{FIRST.hash}.json").write_bytes(b"{")
    assert files.find(FIRST.hash) is None
