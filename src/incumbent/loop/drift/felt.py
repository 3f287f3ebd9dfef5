"""Which segments of requests feel a drift: a stream counted again, segment by segment, when there is news.

States of windows are not kept by segment: the requests of the window and of the newest matched windows are read once
more, of a sample of users where they are many. Vectors come without a request: those of an item are felt by whom it
was recommended to, those of a user by where the user was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.config.sections import DriftConfig
from incumbent.events.window import Window
from incumbent.loop.drift import names
from incumbent.loop.drift import responses as drift_responses
from incumbent.loop.drift import rows as drift_rows
from incumbent.loop.drift.baselines import Baseline, outdated
from incumbent.loop.drift.felt_vectors import clusters
from incumbent.loop.drift.frames import SEGMENTS, Frame
from incumbent.loop.drift.responses import REST, segments
from incumbent.loop.drift.shards import Reader
from incumbent.loop.rollup import pieces

ROWS = 100_000  # requests that are read for one explanation


@dataclass(frozen=True)
class Felt:
    """States per segment now and in the matched windows, of the stream's own frame; counts per cluster of vectors.

    Both are empty exactly when `reason` says why; it is empty too where no segments are asked for.
    """

    current: Mapping[str, Any]
    reference: Mapping[str, Any]
    reason: str = ""


class Feeler:
    """Counts one stream of a baseline by segment."""

    def __init__(self, reader: Reader, baseline: Baseline, config: DriftConfig, stream: str) -> None:
        self._reader, self._baseline, self._config, self._stream = reader, baseline, config, stream
        self._kind, *parts = names.parts_of(stream)
        self._surface = None if self._kind == "embeddings" else parts[0]
        self._known, self._buckets = self._segments(), list(range(reader.lake.buckets))

    def felt(self, now: Window, then: Sequence[Window]) -> Felt:
        """What the segments saw in a window and in those that match it, the newest of these until `ROWS` requests.

        Segments are those that the baseline tells its responses apart by. Nothing where no field is configured, where
        the field is the stream's own, and where the lake holds the requests of no matched window any more.
        """
        field = self._config.segment
        if field is None or self._stream == names.stream("context", str(self._surface), field):
            return Felt({}, {})
        if not self._known:
            return Felt({}, {}, "the baseline holds no responses by this segment")
        if (many := self._requests(now)) > ROWS // 2:
            self._buckets = self._buckets[:max(1, len(self._buckets) * ROWS // (2 * many))]
        left, chosen = ROWS - self._requests(now), list[Window]()
        for window in sorted(then, key=lambda one: one.start, reverse=True):
            rows = self._requests(window)
            if (left := left - rows) < 0:
                break
            chosen += [window] if rows else []
        if not chosen:
            return Felt({}, {}, "the lake holds no requests of the matched windows")
        current, reference = self._states([now], current=True), self._states(chosen, current=False)
        if not current or not reference:
            return Felt({}, {}, "no requests that it could be told by")
        return Felt(current, reference)

    def _segments(self) -> list[str]:
        """The values that responses are told apart by: of the stream's surface, or of all."""
        frames = [frame for name, frame in sorted(self._baseline.frames.items()) if frame.kind == "response"
                  and self._surface in (None, names.parts_of(name)[1]) and not outdated(
                      self._baseline, self._config, name)]
        return sorted({one for frame in frames for one in frame.plain["segments"]})[:SEGMENTS]

    def _requests(self, window: Window) -> int:
        return int(self._reader.lake.scan("impression", window, self._buckets, ["time"]).num_rows)

    # ------------------------------------------------------------------------------------------------------- one side
    def _states(self, windows: Sequence[Window], *, current: bool) -> dict[str, Any]:
        shown = self._shown(windows)
        if self._kind == "embeddings":
            return self._vectors(shown, windows, current=current)
        frame, found = self._baseline.frames[self._stream], dict[str, Any]()
        for day, segment, rows in shown:
            facts = self._reader.catalogue.at(Window.of_day(day).end)
            told = self._told(day, rows).get(self._stream)
            if told is not None and told.num_rows:
                state = frame.state(told, facts)
                found[segment] = found[segment].merge(state) if segment in found else state
        return found

    def _told(self, day: date, rows: pa.Table) -> Mapping[str, pa.Table]:
        """Requests as the streams that they are in."""
        reader, facts = self._reader, self._reader.catalogue.at(Window.of_day(day).end)
        if self._kind == "context":
            _, surface, field = names.parts_of(self._stream)
            return drift_rows.of_context(rows, reader.grid, {surface: [field]})
        if self._kind in (names.NDCG, "calibration"):
            until = Window(Window.of_day(day).start, Window.of_day(day).end + reader.reach)
            told = reader.lake.scan("outcome", until, self._buckets, drift_responses.OUTCOME_COLUMNS)
            return drift_responses.of_responses(rows, told, reader.grid, reader.waits)
        return drift_rows.of_recommended(rows, reader.grid, facts,
                                         reader.vectors if self._kind in names.SERVED else None)

    def _vectors(self, shown: Iterator[tuple[date, str, pa.Table]], windows: Sequence[Window], *,
                 current: bool) -> dict[str, Any]:
        """Counts per cluster: of every item as often as it was recommended, of every user that was there."""
        stream = self._stream if current else self._baseline.about[self._stream].carried_from or self._stream
        frame: Frame = self._baseline.frames[stream]
        items = names.parts_of(stream)[2] == "item"
        weights: dict[str, dict[str, int]] = {}
        for day, segment, rows in shown:
            mine = weights.setdefault(segment, {})
            if not items:
                mine.update(dict.fromkeys(pc.unique(rows["user_id"]).to_pylist(), 1))
                continue
            facts = self._reader.catalogue.at(Window.of_day(day).end)
            for name, told in drift_rows.of_recommended(rows, self._reader.grid, facts).items():
                if name.startswith("items/"):
                    counts = pc.value_counts(told["id"])
                    for one, n in zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(),
                                      strict=True):
                        mine[one] = mine.get(one, 0) + n
        wanted = {one for mine in weights.values() for one in mine}
        return clusters(self._reader.lake, stream, frame.zero.frame, max(one.end for one in windows), wanted, weights)

    def _shown(self, windows: Sequence[Window]) -> Iterator[tuple[date, str, pa.Table]]:
        """The requests of some windows and of the stream's surface, day by day and segment by segment."""
        known, columns = pa.array(self._known, pa.string()), sorted({*drift_rows.REQUEST_COLUMNS,
                                                                    *drift_responses.COLUMNS})
        for window, day in [(one, day) for one in windows for day in one.days()]:
            whole = Window.of_day(day)
            span = Window(max(window.start, whole.start), min(window.end, whole.end))
            for piece in pieces(span, self._requests(span)):
                rows = self._reader.lake.scan("impression", piece, self._buckets, columns)
                if self._surface is not None:
                    rows = rows.filter(pc.equal(rows["surface"], self._surface))
                if not rows.num_rows:
                    continue
                values = segments(rows, self._config.segment)
                values = pc.if_else(pc.is_in(values, value_set=known), values, REST)
                for segment in sorted(pc.unique(values).to_pylist()):
                    yield day, segment, rows.filter(pc.equal(values, segment))
