"""baseline_build: a period of the lake becomes a baseline: frames fitted, windows counted, its own windows compared.

A frame is fitted on the first quarter of the windows; those stand in what is compared with and not in the null. A
stream whose own windows disagree (an audit of the baseline against itself delivers more alarms than promised) makes
the period no baseline, unless such streams are left out by name of the option.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.config.sections import DriftConfig
from incumbent.drift.detector import BaselineWindow
from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.window import Window
from incumbent.loop import watermark
from incumbent.loop.drift import names
from incumbent.loop.drift.agreement import agreement
from incumbent.loop.drift.baselines import (
    ABOUT,
    FRAME,
    SHAPES,
    Baseline,
    StreamAbout,
    active,
    json_part,
    pin,
    window_part,
)
from incumbent.loop.drift.frames import Frame, fit
from incumbent.loop.drift.grid import Grid, micros, moment_of
from incumbent.loop.drift.judges import judges, usable
from incumbent.loop.drift.sample import Sample
from incumbent.loop.drift.season import calendar_of, season_of
from incumbent.loop.drift.shards import Reader, grid_of
from incumbent.stats.buckets import Buckets
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.store import BaselinePart, BaselineRow, Control, Lake, Partition

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
FIT_PART = 4  # a frame is fitted on the first of so many parts of the windows
CHECKED = 0.05  # of an agreement check, dealt over the streams
Progress = Callable[[str, int, int], None]  # what, done, of


@dataclass
class Built:
    """A baseline on its way: windows and frames by stream, and why streams were left out."""

    windows: list[Window]
    known: datetime  # up to when everything is in the lake
    frames: dict[str, Frame] = field(default_factory=dict)
    first: frozenset[Window] = frozenset()  # the windows that frames were fitted on
    states: dict[str, dict[Window, Any]] = field(default_factory=dict)
    about: dict[str, StreamAbout] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unstable: dict[str, str] = field(default_factory=dict)


class BaselineBuilder:
    """Builds baselines from the lake; what is stored is stored in one transaction at the end."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, config: Config, *,
                 progress: Progress | None = None, seed: int = 1) -> None:
        self._lake, self._control, self._clock, self._whole = lake, control, clock, config
        self._config: DriftConfig = config.drift
        self._progress, self._seed = progress or (lambda what, done, of: None), seed

    def build(self, period: Window, name: str, *, actor: str, reason: str, leave_out_unstable: bool = False,
              on_behalf_of: str | None = None) -> Baseline:
        """Build, store, and put in force where none is yet; `DataError` says why the period is no baseline.

        Only whole windows in the period count, those of events that the calendar excludes left out; the period must be
        in the lake as a whole, and windows whose outcomes may still come are left out of the streams that need them.
        """
        if NAME.fullmatch(name) is None:
            raise DataError("a baseline's name is short and plain", got=name, field="name",
                            expected="up to 64 letters, digits, and . _ - after the first")
        if not reason.strip():
            raise DataError("a baseline is built with a reason", got=reason, field="reason")
        built = self._gathered(period)
        if not built.about and not built.unstable:
            raise DataError("nothing in the period makes a baseline", got=f"{len(built.windows)} windows",
                            expected=f"{self._config.least_windows} or more with rows", field="period",
                            hint="; ".join(f"{one}: {why}" for one, why in list(built.left_out.items())[:5]) or None)
        if built.unstable and (not leave_out_unstable or not built.about):
            raise DataError(
                "the period disagrees with itself", got=f"{len(built.unstable)} of "
                f"{len(built.unstable) + len(built.about)} streams", field="period",
                expected="windows that are alike, given the season",
                hint="".join(f"{one}: {why}; " for one, why in sorted(built.unstable.items())) + "choose a calmer "
                "period, put known causes into [[drift.events]], or leave these streams out (--leave-out-unstable)")
        baseline = self._stored(built, name)
        in_force = active(self._control) is None
        if in_force:
            pin(self._control, self._clock, EventIds(self._clock), baseline, actor=actor, reason=reason,
                on_behalf_of=on_behalf_of, action="baseline.build")
        return baseline

    def _gathered(self, period: Window) -> Built:
        config, reader, known = self._config, Reader.of(self._lake, self._config), self._known()
        if period.end > known:
            raise DataError("the period is not over, or not all of it is in the lake", field="period",
                            got=f"to {period.end:%Y-%m-%d %H:%M}", hint="an earlier last day",
                            expected=f"at most to {known:%Y-%m-%d %H:%M}, UTC")
        calendar, grid = calendar_of(config), grid_of(config)
        whole = grid.inside(self._held(period, grid))
        built = Built([one for one in whole if (event := calendar.event(one)) is None or event.action == "match"],
                      known)
        if len(built.windows) < config.least_windows:
            raise DataError("the period is too short for a baseline", got=f"{len(built.windows)} windows",
                            expected=f"{config.least_windows} whole ones", field="period",
                            hint=f"a window is a {config.window} of {config.time_zone}")
        ordinary = [one for one in built.windows if calendar.event(one) is None] or built.windows
        self._fit(reader, built, ordinary)
        self._count(reader, built)
        self._judge(built)
        return built

    def _held(self, period: Window, grid: Grid) -> Window:
        """The part of the period since the lake's first day: windows before it hold nothing, and there may be many."""
        days = [shard.day for _, shard in self._shards(period)]
        if not days:
            raise DataError("nothing in the period makes a baseline: the lake holds nothing of it", field="period",
                            got=f"{period.start:%Y-%m-%d %H:%M} to {period.end:%Y-%m-%d %H:%M}, UTC")
        return Window(max(period.start, grid.window(Window.of_day(min(days)).start).start), period.end)

    def _known(self) -> datetime:
        """Up to when everything is in the lake: the watermark; now, where nobody seals."""
        return watermark.low(self._control).until or self._clock.now()

    def _lag(self, stream: str) -> timedelta:
        """How long after a window its outcomes may still come."""
        return max((judge.lag(self._config) for judge in judges(stream)),
                   default=timedelta(days=self._config.conversion_days))

    # ----------------------------------------------------------------------------------------------------- frames
    def _fit(self, reader: Reader, built: Built, ordinary: list[Window]) -> None:
        """Frames from the first quarter of the ordinary windows in which a stream has rows."""
        first = ordinary[:max(2, len(ordinary) // FIT_PART)]
        span, starts = Window(first[0].start, first[-1].end), pa.array([micros(window.start) for window in first])
        built.first = frozenset(first)
        gathered: dict[str, Sample] = {}
        shards = self._shards(span)
        for i, (family, shard) in enumerate(shards):
            self._progress("frames", i, len(shards))
            for piece in reader.rows(family, shard, {}):
                for name, rows in piece.items():
                    kept = rows.filter(pc.is_in(rows["start"], value_set=starts))
                    if kept.num_rows:
                        gathered.setdefault(name, Sample()).add(kept)
        facts = reader.catalogue.at(span.end)
        for name in sorted(gathered):
            try:
                rows = gathered.pop(name).rows()
                built.frames[name] = fit(name, rows, facts, seed=self._seed, ages=self._config.conversion_days)
            except DataError as error:
                built.left_out[name] = str(error)

    def _shards(self, span: Window) -> list[tuple[str, Partition]]:
        """The shards of the lake that a period touches, by family."""
        out = []
        for family, table in ((names.EMBEDDINGS, "embedding"), (names.REQUESTS, "impression"),
                              (names.RESPONSES, "impression")):
            _, shards = self._lake.changes(table, -1)  # type: ignore[arg-type]
            out += [(family, shard) for shard in sorted(shards) if span.touches(shard.day)]
        return out

    # ---------------------------------------------------------------------------------------------------- windows
    def _count(self, reader: Reader, built: Built) -> None:
        """The state of every stream in every window, summed over shards."""
        by_start = {window.start: window for window in built.windows}
        shards = self._shards(Window(built.windows[0].start, built.windows[-1].end))
        for i, (family, shard) in enumerate(shards):
            self._progress("windows", i, len(shards))
            for (name, start), state in reader.states(family, shard, built.frames).items():
                window = by_start.get(moment_of(start))
                if name.endswith(names.UNREAD):
                    stream = name.removesuffix(names.UNREAD)
                    built.frames.pop(stream, None)
                    built.left_out[stream] = "; ".join(state.counts)
                elif (window is not None and not name.endswith(names.FOREIGN)
                      and window.end + self._lag(name) <= built.known):
                    into = built.states.setdefault(name, {})
                    into[window] = into[window].merge(state) if window in into else state

    def _judge(self, built: Built) -> None:
        """What is known of each stream; too few windows, or windows that disagree, leave it out."""
        count = max(len(built.frames), 1)
        for i, (name, frame) in enumerate(sorted(built.frames.items())):
            self._progress("agreement", i, count)
            windows = self._windows(built, name)
            enough = next(judges(name), None)
            least = self._config.monitor(enough.monitor).least_rows if enough is not None else 1
            full = usable(enough, frame.kind, windows, least) if enough is not None else windows
            held = [window for window in full if not window.fitted]
            if len(full) < self._config.least_windows:
                built.left_out[name] = (f"{len(full)} windows with {least} rows or more, "
                                        f"{self._config.least_windows} are needed" + (
                                            f"; outcomes are waited for {lag / timedelta(days=1):g} days"
                                            if (lag := self._lag(name)) else ""))
                continue
            season = season_of(self._config, full)
            said, stable = agreement(name, frame.kind, windows, self._config, alpha=CHECKED / count)
            if not stable:
                watched = any(self._config.monitor(judge.monitor).on for judge in judges(name))
                if watched:
                    built.unstable[name] = said
                else:
                    built.left_out[name] = f"{said}, and nothing is on"
                continue
            built.about[name] = StreamAbout(
                frame.kind, season.cycle, len(full), len(held), sum(int(_rows(w.state)) for w in windows),
                windows[0].period.start, windows[-1].period.end, said,  # type: ignore[union-attr]
                mature=built.known - self._lag(name))

    def _windows(self, built: Built, name: str) -> list[BaselineWindow]:
        states = built.states.get(name, {})
        return [BaselineWindow(states[window], window, fitted=window in built.first)
                for window in built.windows if window in states]

    # ------------------------------------------------------------------------------------------------------ storing
    def _stored(self, built: Built, name: str) -> Baseline:
        parts: list[BaselinePart] = []
        for stream, about in sorted(built.about.items()):
            parts += [json_part(stream, ABOUT, msgspec.json.encode(about)),
                      json_part(stream, FRAME, built.frames[stream].data)]
            parts += [window_part(stream, window.period, window.state, fitted=window.fitted)  # type: ignore[arg-type]
                      for window in self._windows(built, stream)]
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(repr((part.stream, part.part, part.state, part.config_hash)).encode() + part.data)
        row = self._control.put_baseline(BaselineRow(
            name, 0, self._clock.now(), built.windows[0].start, built.windows[-1].end, self._config.window,
            self._config.time_zone, digest.hexdigest(), self._definition(built)), parts)
        return Baseline(row, self._control)

    def _definition(self, built: Built) -> dict[str, Any]:
        """What the baseline is pinned to, and what is not in it."""
        models: dict[str, set[str]] = {}
        spaces: dict[str, set[str]] = {}
        for stream in built.about:
            kind, *rest = names.parts_of(stream)
            if kind == "embeddings":
                spaces.setdefault(f"{rest[0]}/{rest[1]}", set()).add(rest[2])
            elif kind in ("scores", "calibration"):
                models.setdefault(f"{rest[0]}/{rest[1]}", set()).add(rest[2])
            elif kind == "items":
                models.setdefault(f"{rest[0]}/{rest[1]}", set())
        return {"models": {key: sorted(known) for key, known in sorted(models.items())},
                "spaces": {key: sorted(known) for key, known in sorted(spaces.items())},
                "champions": {name: surface.champion for name, surface in sorted(self._whole.surfaces.items())},
                "windows": len(built.windows), "left_out": built.left_out, "unstable": built.unstable,
                **{name: getattr(self._config, name) for name in SHAPES}}


def _rows(state: Any) -> int:
    if hasattr(state, "n"):
        return int(state.n)
    if isinstance(state, Buckets):
        return int(state.rows.sum())
    if isinstance(state, LogHistogram):
        return state.total
    return sum(n for key, n in state.counts.items() if key.startswith(f"{names.SHOWN}|"))


def period_of(config: DriftConfig, first: date, last: date) -> Window:
    """The days from `first` to `last`, both included, in the configured time zone."""
    days = Grid("day", config.time_zone)
    noons = [datetime.combine(day, time(12), ZoneInfo(config.time_zone)) for day in (first, last)]
    if last < first:
        raise DataError("a period ends before it begins", got=f"{first} to {last}", field="to")
    try:
        start = days.window(noons[0]).start
    except OverflowError:  # east of Greenwich the calendar's first day begins before it
        start = datetime.min.replace(tzinfo=UTC)
    try:
        return Window(start, days.window(noons[1]).end)
    except OverflowError:
        raise DataError("a period reaches beyond the calendar", got=f"{first} to {last}", field="to") from None
