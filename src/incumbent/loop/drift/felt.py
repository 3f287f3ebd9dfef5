"""Which segments of requests feel a drift of ids: states per value of the configured field, made when there is news."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.drift.segments import SegmentChange, segment_changes
from incumbent.events.window import Window
from incumbent.loop.drift import names
from incumbent.loop.drift import rows as drift_rows
from incumbent.loop.drift.baselines import Baseline
from incumbent.loop.drift.grid import micros
from incumbent.loop.drift.responses import REST, segments
from incumbent.loop.drift.shards import Reader
from incumbent.loop.rollup import pieces

ROWS = 200_000  # requests that are read for one explanation


def felt(reader: Reader, baseline: Baseline, stream: str, now: Window, then: Sequence[Window]) -> list[SegmentChange]:
    """Every segment's change of mix between the matched windows and this one, of a stream of items or of a context field.

    Of the matched windows the newest are read, until `ROWS` requests. Segments are those that the baseline tells its
    responses apart by. Nothing where no field is configured, the field is the stream's own, the window alone holds more
    than `ROWS` requests, or the lake holds the rows of no matched window any more.
    """  # noqa: E501
    surface, field = names.parts_of(stream)[1], reader.waits.segment
    frame = baseline.frames.get(names.stream("response", surface))
    if field is None or frame is None or stream == names.stream("context", surface, field):
        return []
    known = list(frame.plain["segments"])
    left = ROWS - _requests(reader, now)
    chosen: list[Window] = []
    for window in sorted(then, key=lambda one: one.start, reverse=True):
        rows = _requests(reader, window)
        if (left := left - rows) < 0:
            break
        chosen += [window] if rows else []
    if not chosen:
        return []
    current, reference = (_states(reader, baseline, stream, side, known) for side in ([now], chosen))
    return segment_changes(current, reference)


def _requests(reader: Reader, window: Window) -> int:
    return int(reader.lake.scan("impression", window, columns=["time"]).num_rows)


def _states(reader: Reader, baseline: Baseline, stream: str, windows: Sequence[Window],
            known: list[str]) -> dict[str, Any]:
    frame, found = baseline.frames[stream], dict[str, Any]()
    starts = pa.array([micros(one.start) for one in windows], pa.int64())
    for day in sorted({day for one in windows for day in one.days()}):
        facts = reader.catalogue.at(Window.of_day(day).end)
        for segment, shown in _shown(reader, stream, day, known):
            if names.parts_of(stream)[0] == "items":
                told = drift_rows.of_recommended(shown, reader.grid, facts)
            else:
                _, surface, field = names.parts_of(stream)
                told = drift_rows.of_context(shown, reader.grid, {surface: [field]})
            if stream in told:
                state = frame.state(told[stream].filter(pc.is_in(told[stream]["start"], value_set=starts)), facts)
                found[segment] = found[segment].merge(state) if segment in found else state
    return found


def _shown(reader: Reader, stream: str, day: Any, known: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """The requests of a day and surface, segment by segment."""
    whole = Window.of_day(day)
    for piece in pieces(whole, _requests(reader, whole)):
        rows = reader.lake.scan("impression", piece, columns=drift_rows.REQUEST_COLUMNS)
        rows = rows.filter(pc.equal(rows["surface"], names.parts_of(stream)[1]))
        if not rows.num_rows:
            continue
        values = segments(rows, reader.waits.segment)
        values = pc.if_else(pc.is_in(values, value_set=pa.array(known, pa.string())), values, REST)
        for segment in pc.unique(values).to_pylist():
            yield segment, rows.filter(pc.equal(values, segment))
