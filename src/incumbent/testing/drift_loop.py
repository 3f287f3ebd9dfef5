"""A world of the loop with drift in it: stores in memory, a clock, a shop of events, and the jobs that drift needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, get_args

from incumbent import config
from incumbent.clock import ManualClock
from incumbent.config.sections import DriftMonitor
from incumbent.events.schema import Finding
from incumbent.events.window import Window
from incumbent.loop.attribute import Attributor
from incumbent.loop.detect import Detector
from incumbent.loop.drift.baselines import CURSOR, Baseline
from incumbent.loop.drift.build import BaselineBuilder
from incumbent.loop.drift.latest_vectors import LatestVectors
from incumbent.loop.drift.window_states import Windowed, WindowStates
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.store import Control
from incumbent.testing.event_shop import START, EventShop

SPRING = 48  # days
DRIFT: dict[str, Any] = {
    "false_alarms_per_month": 6, "segment": "device",
    "monitors": {"scores": {"on": False}, "calibration": {"on": False}, "items": {"least_rows": 20}}}
SHOP: dict[str, Any] = {"requests": 40, "vectors": 40, "dimension": 4}


def opened(findings: Sequence[Finding], stream: str) -> list[Finding]:
    """The alarms of one stream among findings."""
    return [one for one in findings if one.subject == f"stream:{stream}" and one.status in ("drift", "invalid")]


def configured(watch: Sequence[str] | None = None, **drift: Any) -> config.Config:
    """A configuration of one surface, whose section of drift is `DRIFT` with changes.

    Of `watch` only those monitors, with one false alarm a month for each.
    """
    if watch is not None:
        off = {name: {"on": False} for name in get_args(DriftMonitor) if name not in watch}
        drift = {"false_alarms_per_month": len(watch), "monitors": {**off, "items": {
            "on": "items" in watch, "least_rows": 20}}, **drift}
    return config.parse({"models": {"popular": {"target": "shop:popular"}},
                         "surfaces": {"home": {"champion": "popular"}}, "drift": {**DRIFT, **drift}})


class World:
    """Stores, a clock, a shop, and the jobs of the loop that drift needs."""

    def __init__(self, lake: Any = None, control: Any = None, *, drift: dict[str, Any] | None = None,
                 watch: Sequence[str] | None = None, **shop: Any) -> None:
        self.lake, self.control = lake or MemoryLake(1), control or MemoryControl()
        self.config, self.shop = configured(watch, **(drift or {})), EventShop(**{**SHOP, **shop})
        self.clock, self.sequence = ManualClock(START), 0
        self.commit(self.shop.catalogue())

    def commit(self, events: list[Any]) -> None:
        """Events into the lake."""
        self.sequence += 1
        self.lake.commit(events, "w", self.sequence)

    def live(self, first: int, last: int) -> None:
        """The days from `first` to before `last`, and the clock behind them."""
        for day in range(first, last):
            self.commit(self.shop.day(day))
        self._until(START + timedelta(days=last, hours=1))

    def attribute(self) -> None:
        """Outcomes, as the measuring job makes them."""
        Attributor(self.lake, self.control, self.clock, dict).run_once()

    def measure(self) -> Windowed:
        """Outcomes, the latest vectors, then the states of windows."""
        self.attribute()
        LatestVectors(self.lake, self.control, self.clock).run_once()
        return WindowStates(self.lake, self.control, self.clock, self.config.drift).run_once()

    def detector(self) -> Detector:
        """A new process that judges."""
        return Detector(self.lake, self.control, self.clock, self.config.drift)

    def look(self) -> list[Finding]:
        """Measure and judge what is closed; the findings."""
        self.measure()
        return list(self.detector().run_once(self.clock.now()).findings)

    def lived(self, first: int, last: int) -> list[Finding]:
        """The days from `first` to before `last`, and then a look."""
        self.live(first, last)
        return self.look()

    def begin(self, control: Control, days: int) -> None:
        """Put the baseline that another Control has in force here, and the clock behind its days."""
        pinned = json.loads(control.cursor(CURSOR) or "{}")
        row = control.baseline(pinned["name"], pinned["version"])
        assert row is not None
        stored = self.control.put_baseline(row, control.baseline_parts(row.name, row.version))
        self.control.set_cursor(CURSOR, json.dumps({**pinned, "version": stored.version}))
        self._until(START + timedelta(days=days))

    def build(self, first: int, last: int, name: str = "spring", **options: Any) -> Baseline:
        """A baseline of the days from `first` to before `last`."""
        period = Window(START + timedelta(days=first), START + timedelta(days=last))
        return BaselineBuilder(self.lake, self.control, self.clock, self.config).build(
            period, name, actor="ann", reason="a calm time", **options)

    def _until(self, moment: datetime) -> None:
        self.clock.advance(max((moment - self.clock.now()).total_seconds(), 0.0))
