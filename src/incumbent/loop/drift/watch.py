"""A baseline as it is watched: every judge with its part of the budget, its detector and its matched references."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from msgspec import structs

from incumbent.clock import EPOCH
from incumbent.config.sections import DriftConfig
from incumbent.drift.budget import Budget, Kind, Method, Monitor, Part, split
from incumbent.drift.detector import BaselineWindow, Detector, Memory, Reference, Result, invalid, no_data
from incumbent.drift.null import LEAST
from incumbent.drift.season import Calendar, Season, matched
from incumbent.drift.stream import RankStream
from incumbent.errors import DataError
from incumbent.events.window import Window
from incumbent.loop.drift.baselines import AGAIN, Baseline, StreamAbout, outdated
from incumbent.loop.drift.grid import Grid
from incumbent.loop.drift.judges import Judge, comparable, detector, harm_of, judges, mean_of, usable
from incumbent.loop.drift.season import calendar_of, least_held
from incumbent.loop.drift.shards import grid_of

VERSIONS = 2  # of a space that are watched: the newest, and the one that it takes over from


@dataclass(eq=False)
class Watch:
    """One judge over one baseline. `step` is pure but for what it keeps of references that it made before."""

    judge: Judge
    about: StreamAbout
    part: Part
    detector: Detector
    windows: list[BaselineWindow]  # usable, as the judge sees them
    all_windows: list[Window]  # that the baseline should have
    since: datetime  # from here on windows are judged
    season: Season
    calendar: Calendar
    least: int
    tolerance: float  # of vectors of another dimension, for the others to be judged
    outdated: str = ""  # what its stream was counted by when the baseline was built, and is no more: it is not judged
    _made: dict[str, Reference] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The judge's name."""
        return self.judge.name

    @property
    def over_time(self) -> bool:
        """Is its evidence gathered over windows?"""
        return self.part.monitor.kind in ("e_rank", "e_detector")

    def reference(self, window: Window) -> Reference:
        """What a window is compared with; calibrated once for every place in the season."""
        event = self.calendar.event(window)
        key = self.season.key(window) if event is None else f"event {event.name} {event.action}"
        if key not in self._made:
            found = matched(self.windows, window, self.season, self.calendar, expected=self.all_windows)
            with suppress(DataError):  # too few: every step says so
                found = self.detector.calibrate(found)
            self._made[key] = found
        return self._made[key]

    def excluded(self, window: Window) -> bool:
        """Is the window left out by the calendar?"""
        event = self.calendar.event(window)
        return event is not None and event.action == "exclude"

    def known(self, window: Window) -> bool:
        """Is it no news that a window could not be judged? Excluded; an event that the baseline holds too few windows
        of; or windows of its place in the season, of its hour too, were mostly too thin in the baseline already."""
        if (event := self.calendar.event(window)) is not None:
            least = getattr(self.detector, "least_windows", lambda: LEAST)()
            return event.action == "exclude" or len(self.reference(window).held) < least
        hourly = window.end - window.start < timedelta(hours=12)
        places = [self.season, Season("hour_of_day", self.season.zone)] if hourly else [self.season]
        return any(self._thin(place, window) for place in places)

    def _thin(self, season: Season, window: Window) -> bool:
        key = season.key(window)
        expected = sum(season.key(one) == key for one in self.all_windows)
        have = sum(season.key(one.period) == key for one in self.windows if one.period is not None)
        return 2 * have < expected

    def step(self, state: Any, foreign: int, window: Window, memory: Memory) -> tuple[Result, Memory]:
        """What is concluded of a window's state, None where it has no rows, and the memory after it."""
        if self.outdated:
            return no_data(self.outdated), memory
        reference = self.reference(window)
        if self.excluded(window):
            return no_data(reference.reason), memory
        if state is None and not foreign:
            kind, _, rest = self.judge.stream.partition("/")
            more = f" of version {rest.rpartition('/')[2]}: a new version needs a baseline of its own" \
                if kind in ("embeddings", "scores", "calibration") else ""
            if kind == "embeddings":
                more += ", unless it only rotates the space"
            return no_data(f"no rows in the window{more}"), memory
        odd = f"{foreign} vectors of another dimension than the baseline's"
        if state is None or foreign > self.tolerance * (foreign + int(getattr(state, "n", 0))):
            return invalid(odd, n=foreign), memory
        seen = self.judge.of(state)
        problem = self._problem(seen)
        result, kept = (problem, memory) if problem is not None else self._judged(seen, reference, memory)
        if result.severity == "page" and (not self.judge.pages or self.judge.harmless(state)):
            result = structs.replace(result, severity="ticket")
        return (structs.replace(result, reason=f"{result.reason}; {odd} left out") if foreign else result), kept

    def _problem(self, seen: Any) -> Result | None:
        if comparable(self.about.kind if self.judge.risk is None else "risk", seen, self.least):
            return None
        n = int(seen.n)
        lost = int(seen.absent.sum()) if hasattr(seen, "absent") else int(np.sum(getattr(seen, "missing", 0)))
        lost += int(seen.defects.sum()) if hasattr(seen, "defects") else 0
        if n == 0 and lost >= self.least:
            return invalid(f"all {lost} values of the window are missing or not sound", n=0)
        if n >= self.least:
            return no_data("too few clicks to say anything of calibration", n=n)
        return no_data(f"{n} rows are too few, {self.least} are needed", n=n)

    def _judged(self, seen: Any, reference: Reference, memory: Memory) -> tuple[Result, Memory]:
        """Scores of different places in the season rank among their own; the evidence of all multiplies."""
        if not isinstance(self.detector, RankStream):
            return self.detector.step(seen, reference, memory)
        keys = dict(memory["keys"]) if memory else {}
        inner = None if memory is None else {**memory, "scores": keys.get(reference.key, [])}
        result, after = self.detector.step(seen, reference, inner)
        if after is None or after is inner:
            return result, None if after is None else memory
        keys[reference.key] = after["scores"]
        return result, {**{name: after[name] for name in ("log_m", "windows", "alpha")}, "keys": keys}


def watches(baseline: Baseline, config: DriftConfig,
            replaced: Collection[str] = ()) -> tuple[list[Watch], Budget | None]:
    """Everything that a baseline lets be judged, each with its part of the budget, and the budget that says who cannot.

    A monitor's weight is dealt evenly over its judges; streams of `replaced` have none. None where nothing is watched.
    """
    grid, calendar = grid_of(config), calendar_of(config)
    period = Window(baseline.row.since, baseline.row.until)
    found: list[tuple[Judge, StreamAbout, list[BaselineWindow], Season]] = []
    for stream, about in sorted(live(baseline.about, replaced).items()):
        chosen = [judge for judge in judges(stream) if config.monitor(judge.monitor).on]
        states = baseline.windows(stream) if chosen else []
        for judge in chosen:
            kind = about.kind if judge.risk is None else "risk"
            windows = usable(judge, kind, states, config.monitor(judge.monitor).least_rows)
            found.append((judge, about, windows, Season(about.season, config.time_zone)))  # type: ignore[arg-type]
    if not found:
        return [], None
    counts = {name: sum(judge.monitor == name for judge, *_ in found) for name in {one[0].monitor for one in found}}
    total = sum(config.monitor(name).weight for name in counts)
    monitors = [_monitor(judge, season, calendar, windows, grid, config, total, counts[judge.monitor])
                for judge, _, windows, season in found]
    budget = split(config.false_alarms_per_month, monitors)
    return [Watch(judge, about, part, detector(judge, about.kind, config, part.monitor.kind, part.alpha,
                                               mean_of(windows) if judge.risk else 0.0),
                  windows, _due(grid, period, calendar, about), baseline.begin(about, grid), season, calendar,
                  config.monitor(judge.monitor).least_rows, config.missing_tolerance,
                  f"{told} since the baseline was built: {AGAIN}" if (told := outdated(
                      baseline, config, judge.stream)) else "")
            for (judge, about, windows, season), part in zip(found, budget.parts, strict=True)], budget


def alphas(watched: Iterable[Watch], method: Method) -> dict[str, float]:
    """The alphas of the judges whose alarms are judged together within a tick: those with the values that it takes."""
    return {watch.name: watch.part.alpha for watch in watched if watch.over_time == (method == "e_bh")}


def live(about: Mapping[str, StreamAbout], replaced: Collection[str] = ()) -> dict[str, StreamAbout]:
    """The streams without versions of a space that are `replaced` or that `VERSIONS` younger ones were carried from:
    they cost no budget."""
    about = {stream: one for stream, one in about.items() if stream not in replaced}
    ages: dict[str, list[tuple[datetime, str]]] = {}
    for stream, one in about.items():
        if one.kind == "vectors":
            ages.setdefault(stream.rpartition("/")[0], []).append((one.carried_at or EPOCH, stream))
    gone = {stream for found in ages.values() for _, stream in sorted(found)[:-VERSIONS]}
    return {stream: one for stream, one in about.items() if stream not in gone}


def _due(grid: Grid, period: Window, calendar: Calendar, about: StreamAbout) -> list[Window]:
    return [one for one in grid.inside(period) if about.mature is None or one.end <= about.mature
            if (event := calendar.event(one)) is None or event.action == "match"]


def _monitor(
    judge: Judge, season: Season, calendar: Calendar, windows: Sequence[BaselineWindow], grid: Grid,
    config: DriftConfig, total: float, shared: int,
) -> Monitor:
    """How a judge asks for its part: by rank at once where its windows carry that, else over time."""
    settings = config.monitor(judge.monitor)
    weight = settings.weight / shared
    held = least_held(season, calendar, windows)
    kind: Kind = "e_detector"
    harm = None if judge.risk is None else harm_of(judge, config, list(windows), season, calendar)
    if judge.risk is None:
        alpha = config.false_alarms_per_month * weight / total * grid.hours / 730.5
        ranks = held >= 1 / min(alpha, 0.5) - 1 and held >= LEAST
        kind = {"rank": "rank", "tail": "tail", "over_time": "e_rank"}.get(  # type: ignore[assignment]
            settings.method, "rank" if ranks else "e_rank")
    return Monitor(judge.name, every_hours=grid.hours, windows=held, weight=weight, kind=kind, harm=harm)
