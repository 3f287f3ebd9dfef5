"""How a monitor alarms as its `method` says, several of one window together, and windows of an hour."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from incumbent.config.sections import DriftMonitor
from incumbent.drift.detector import Result
from incumbent.events.window import Window
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.audited import audited, together
from incumbent.loop.drift.baselines import active
from incumbent.testing.drift_loop import SPRING, World, opened
from incumbent.testing.event_shop import START

STREAM = "items/home/popular"


def only_items(**settings: Any) -> dict[str, Any]:
    off = {name: {"on": False} for name in get_args(DriftMonitor)}
    return {**off, "items": {"least_rows": 20, **settings}}


@pytest.mark.parametrize(("method", "per_month", "kind", "said"), [
    ("rank", 2.0, "rank", "of a least 0.027"), ("tail", 0.2, "tail", "extrapolated"),
    ("over_time", 2.0, "e_rank", "evidence")])
def test_a_monitor_alarms_by_the_method_that_it_names(after_spring, method, per_month, kind, said):
    """Ranks among 36 windows cannot carry one alarm in five months: an extrapolated tail does, and says that it is."""
    world = after_spring(drift={"false_alarms_per_month": per_month, "monitors": only_items(method=method)},
                         faults={"mix": SPRING + 2})
    findings = world.lived(SPRING, SPRING + 12)
    (found,) = opened(findings, STREAM)
    assert found.evidence["budget"]["method"] == kind and said in found.reason
    (begun,) = (one for one in findings if one.check == "drift:budget")
    assert ("1 of them by a tail that was asked for, extrapolated" in begun.reason) == (kind == "tail")
    assert found.evidence["window"]["start"] >= (START + timedelta(days=SPRING + 2)).isoformat()


def test_a_rank_that_cannot_honour_its_part_is_refused_though_it_is_named(after_spring):
    world = after_spring(drift={"false_alarms_per_month": 0.2, "monitors": only_items(method="rank")})
    (begun,) = world.lived(SPRING, SPRING + 1)
    assert begun.severity == "ticket" and STREAM in begun.evidence["refused"]


def test_how_alarms_of_one_window_are_judged_together_is_shown_and_in_the_finding(after_spring):
    world = after_spring(drift={"false_alarms_per_month": 2.0, "monitors": only_items(), "multiplicity": "by"},
                         faults={"mix": SPRING + 2})
    (found,) = opened(world.lived(SPRING, SPRING + 12), STREAM)
    assert found.evidence["budget"]["multiplicity"] == "by"
    assert audited(world.control, world.config)["multiplicity"] == "by"
    assert drift_status.status(world.control, world.config, world.clock.now())["multiplicity"] == "by"


def judged(name: str, over_time: bool, alpha: float, **values: Any) -> Any:
    watch = SimpleNamespace(name=name, over_time=over_time, part=SimpleNamespace(alpha=alpha))
    return SimpleNamespace(watch=watch, results={WINDOW: Result(reason="", **values)})


WINDOW = Window(START, START + timedelta(days=1))


@pytest.mark.parametrize(("method", "wanted"), [
    ("bonferroni", "a"), ("bh", "abc"), ("by", ""), ("e_bh", "ade")])
def test_an_audit_judges_a_window_as_a_tick_does(method, wanted):
    """By hand, at .01 each: .03 in all for a, b, c, which BH rejects at .01, .02 and .03 and BY at .0055 and on;
    e-values of d and e pass 100 and, once one has, 50. Who has no such value keeps to its own alpha."""
    ranks = [judged(name, False, 0.01, status="drift" if p <= 0.01 else "ok", p_value=p)
             for name, p in (("a", 0.009), ("b", 0.019), ("c", 0.029))]
    over = [judged(name, True, 0.01, status="drift" if e >= 100 else "ok", e_value=e, p_value=0.001)
            for name, e in (("d", 120.0), ("e", 60.0))]
    together([*ranks, *over], method)
    found = "".join(one.watch.name for one in (*ranks, *over) if one.results[WINDOW].status == "drift")
    assert found == wanted + ("" if "d" in wanted else "d")


def test_windows_of_an_hour_are_judged_by_the_hour():
    """Four days are a baseline of 88 hours with requests; from the fifth day on candles come four times as often."""
    world = World(requests=220, vectors=0, faults={"mix": 5}, drift={
        "window": "hour", "season": "none", "false_alarms_per_month": 40, "monitors": only_items()})
    world.live(0, 4)
    world.measure()
    world.build(0, 4)
    findings = world.lived(4, 6)
    held = world.detector().watches(active(world.control))[0][0]
    assert len(held.windows) > 80 and held.part.monitor.every_hours == 1
    found = opened(findings, STREAM)[-1]
    start, end = (found.evidence["window"][name] for name in ("start", "end"))
    assert start[:13] >= "2026-03-07T00" and end[:13] == f"{start[:11]}{int(start[11:13]) + 1:02d}"
    assert "candle" in found.evidence["explanation"]["text"]
    quiet = [one for one in opened(findings, STREAM) if one.evidence["window"]["start"] < "2026-03-07"]
    assert len(quiet) <= 40 * 24 / 730.5 + 2
    recent = drift_ledger.read(world.control).standings[STREAM].recent
    assert {later.start - one.start for one, later in pairwise(recent)} == {timedelta(hours=1)}
    assert any(one.n > 20 for one in recent)
