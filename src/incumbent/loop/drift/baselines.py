"""baselines: reading them. Which one is in force, its streams with their frames and windows, and how it is pinned."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from incumbent import registry
from incumbent.clock import Clock
from incumbent.config.sections import DriftConfig
from incumbent.drift.detector import BaselineWindow
from incumbent.drift.versions import turned
from incumbent.errors import DataError, NotFoundError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit
from incumbent.events.window import Window
from incumbent.loop.drift.frames import Frame
from incumbent.loop.drift.grid import Grid
from incumbent.loop.enact import to_log
from incumbent.loop.operate import named
from incumbent.stores.store import BaselinePart, BaselineRow, Control

CURSOR = "drift/baseline"
ABOUT, FRAME, TURN = "about", "frame", "turn"
SHAPES = ("click_hours", "conversion_days", "segment", "season")  # of the configuration, beside the windows, its states
#: those that only some kinds of streams are counted by
OF_KINDS = {"segment": ("response",), "click_hours": ("response", "calibration", "ndcg"),
            "conversion_days": ("response", "delay")}
HOW = 'incumbent baseline build --from DAY --to DAY --reason "..."'  # what makes a first one
AGAIN = f'rebuild it ({HOW}) and pin it (incumbent baseline pin NAME --reason "..."), or set that back'


class Pinned(Struct, frozen=True):
    """Which baseline is in force, since when."""

    name: str
    version: int
    at: datetime


class StreamAbout(Struct, frozen=True):
    """What is known of one stream of a baseline."""

    kind: str
    season: str  # the cycle by which its windows match
    windows: int  # with rows enough
    held: int  # of those, in the null: the frame was not fitted on them
    rows: int
    first: datetime | None = None
    last: datetime | None = None
    agreement: str = ""  # what its own windows say of one another
    carried_from: str | None = None  # the version of a space that it was rotated from
    carried_at: datetime | None = None  # when it was
    note: str = ""
    mature: datetime | None = None  # windows that end later were left out: their outcomes could still come


@dataclass(frozen=True, eq=False)
class Baseline:
    """A stored baseline; its parts are read when they are asked for."""

    row: BaselineRow
    _control: Control = field(repr=False)

    @property
    def id(self) -> str:
        """NAME@VERSION."""
        return f"{self.row.name}@{self.row.version}"

    @cached_property
    def about(self) -> dict[str, StreamAbout]:
        """What is known of every stream."""
        parts = self._control.baseline_parts(self.row.name, self.row.version, part=ABOUT)
        return {part.stream: msgspec.json.decode(part.data, type=StreamAbout) for part in parts}

    @cached_property
    def frames(self) -> dict[str, Frame]:
        """The frame of every stream."""
        parts = self._control.baseline_parts(self.row.name, self.row.version, part=FRAME)
        return {part.stream: Frame.of(part.data) for part in parts}

    @cached_property
    def streams_hash(self) -> str:
        """16 hex digits over the streams: another one where a stream was added."""
        return hashlib.blake2b("\n".join(sorted(self.about)).encode(), digest_size=8).hexdigest()

    def begin(self, about: StreamAbout, grid: Grid) -> datetime:
        """The start of the first window of a stream that is to be judged: of those in the period, whose outcomes could
        still come when it was built are not in it, and judged like those after it."""
        if about.mature is None or about.mature >= self.row.until:
            return self.row.until
        return grid.window(about.mature).start

    def windows(self, stream: str) -> list[BaselineWindow]:
        """The windows of a stream in order; `fitted` are those that the frame was fitted on. Those of a version that
        was carried over are the old version's, turned: they are kept once."""
        found, turn = [], None
        for part in self._control.baseline_parts(self.row.name, self.row.version, stream):
            if part.part == TURN:
                turn = np.frombuffer(part.data, dtype="<f8")
            elif part.part not in (ABOUT, FRAME):
                start, end, mark = part.part.split("/")
                state = registry.load("states", part.state).from_bytes(part.data)
                found.append(BaselineWindow(state, Window(datetime.fromisoformat(start), datetime.fromisoformat(end)),
                                            fitted=mark == "fitted"))
        if turn is not None and not found:
            frame, old = self.frames[stream].zero.frame, self.about[stream].carried_from
            assert old is not None
            turn = turn.reshape(-1, frame.dimension)
            return [replace(one, state=turned(one.state, turn, frame)) for one in self.windows(old)]
        return sorted(found, key=lambda window: window.period)  # type: ignore[arg-type, return-value]


def changed(baseline: Baseline, config: DriftConfig) -> str:
    """What the configuration says otherwise than when the baseline was built, empty where nothing: windows of another
    length, zone or season cannot be held against it. What a baseline does not tell of itself (of before it was kept) is
    not compared."""
    return _said(baseline, config, ["window", "time_zone", *(name for name in SHAPES if name not in OF_KINDS)])


def outdated(baseline: Baseline, config: DriftConfig, stream: str) -> str:
    """The same of what one stream alone is counted by: the wait for its outcomes, the segments that it is told by."""
    kind = stream.partition("/")[0]
    return _said(baseline, config, [name for name, kinds in OF_KINDS.items() if kind in kinds])


def _said(baseline: Baseline, config: DriftConfig, wanted: list[str]) -> str:
    row = baseline.row
    built: dict[str, Any] = {"window": row.window, "time_zone": row.time_zone, **row.definition}
    return "; ".join(f"{name} was {_told(built[name])} and is {_told(now)}" for name in wanted
                     if name in built and built[name] != (now := getattr(config, name)))


def _told(value: Any) -> str:
    return "not set" if value is None else str(value)


def window_part(stream: str, window: Window, state: Any, *, fitted: bool) -> BaselinePart:
    """A window of a stream as it is stored."""
    mark = "fitted" if fitted else "held"
    return BaselinePart(stream, f"{window.start:%Y-%m-%dT%H:%M+00:00}/{window.end:%Y-%m-%dT%H:%M+00:00}/{mark}",
                        state.name, state.config_hash, state.to_bytes())


def json_part(stream: str, part: str, data: bytes) -> BaselinePart:
    """What is known of a stream, or its frame, as it is stored."""
    return BaselinePart(stream, part, "json", hashlib.blake2b(data, digest_size=8).hexdigest(), data)


def turn_part(stream: str, rotation: NDArray[np.float64]) -> BaselinePart:
    """By which the windows of the version that a stream was carried over from are turned, as it is stored."""
    data = np.ascontiguousarray(rotation, dtype="<f8").tobytes()
    return BaselinePart(stream, TURN, "rotation", hashlib.blake2b(data, digest_size=8).hexdigest(), data)


def active(control: Control) -> Baseline | None:
    """The baseline in force, None before the first."""
    kept = control.cursor(CURSOR)
    if kept is None:
        return None
    pinned = msgspec.json.decode(kept, type=Pinned)
    row = control.baseline(pinned.name, pinned.version)
    return None if row is None else Baseline(row, control)


def find(control: Control, name: str, version: int | None = None) -> Baseline:
    """A baseline by name, the newest version where none is given; `NotFoundError` with what there is."""
    row = control.baseline(name, version)
    if row is None:
        known = ", ".join(f"{one.name}@{one.version}" for one in control.baselines())
        raise NotFoundError("no such baseline", got=name if version is None else f"{name}@{version}",
                            expected=f"one of {known}" if known else "none stands yet", field="baseline",
                            hint=HOW)
    return Baseline(row, control)


def pin(control: Control, clock: Clock, ids: EventIds, baseline: Baseline, *, actor: str, reason: str,
        on_behalf_of: str | None = None, action: str = "baseline.pin") -> None:
    """Put a baseline in force, with who did it and why, in one transaction; `DataError` without either."""
    for name, text in (("actor", actor), ("reason", reason)):
        if not text.strip():
            raise DataError(f"a baseline is pinned with a {name}", got=text, field=name)
    now, row = clock.now(), baseline.row
    audit = Audit(event_id=ids.new(), time=now, actor=actor.strip(), action=action, subject=f"baseline:{row.name}",
                  reason=reason.strip(), details={"version": row.version, "hash": row.hash, **named(on_behalf_of)})
    control.conclude(audit, outbox=[to_log(audit)],
                     cursor=(CURSOR, msgspec.json.encode(Pinned(row.name, row.version, now)).decode()))
