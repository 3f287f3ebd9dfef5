"""Compare two data sets: every column that both have, judged against the windows of the baseline, in one alarm.

A baseline is read twice (an eighth of it is what cells are fitted on), the current side once, in batches: memory holds
a state per column and window. `incumbent.compare` is the same with a report around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from incumbent.drift.comparison import tell, versions
from incumbent.drift.comparison.columns import Chosen, choose
from incumbent.drift.comparison.items import Things
from incumbent.drift.comparison.judging import Judgement, judge_stream, reference_of
from incumbent.drift.comparison.options import Options, Progress
from incumbent.drift.comparison.result import Comparison, StreamTold
from incumbent.drift.comparison.states import SEGMENTS, Side, read_side, sampled
from incumbent.drift.comparison.streams import Stream
from incumbent.drift.comparison.windows import NOWHERE, Windows, baseline_windows, current_windows, fitted, sizes
from incumbent.drift.frames.opened import opened
from incumbent.drift.frames.source import Source
from incumbent.errors import DataError


@dataclass(eq=False)
class _Work:
    """What a comparison holds while it is made."""

    options: Options
    chosen: Chosen
    old: Source
    new: Source
    progress: Progress
    streams: dict[str, Stream]
    told: dict[str, StreamTold]
    notes: list[str]


def compared(baseline: Any, current: Any, options: Options | None = None, *, progress: Progress | None = None,
             ) -> Comparison:
    """Two data sets, compared column by column: paths (Parquet, CSV, .npy, .npz), data frames, arrays.

    With a time column the null is windows: days differ, and a column is off where its windows are further off than the
    baseline's own are from the rest. Without one rows are the null, which is said: what is only an odd day reads as
    drift. The chance that any column is called drift where none drifted is at most `options.alpha`. `DataError` for
    files that cannot be read, unknown columns, and where nothing can be compared; what is wrong with one column is its
    status.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> old = {"price": rng.normal(10, 2, 4000), "shop": rng.choice(["north", "south"], 4000)}
    >>> new = {"price": rng.normal(11, 2, 1000), "shop": rng.choice(["north", "south"], 1000)}
    >>> found = compared(old, new)
    >>> found.status, {stream.name: stream.status for stream in found.streams}, found.null
    ('drift', {'price': 'drift', 'shop': 'ok'}, 'rows')
    """
    options = options or Options()
    told = progress or (lambda what, done, total: None)
    old, new = opened(baseline, "baseline"), opened(current, "current")
    work = _Work(options, choose(old, new, options), old, new, told, {}, {}, [])
    windows = baseline_windows(old, options, told)
    counts = sizes(old, windows, told)
    fit = fitted(counts)
    segments = _fit(work, windows, fit, counts)
    things = Things(options, _vectors(work)), Things(options, _vectors(work))
    before = read_side(old, windows, work.streams, segments, things[0], told, current=False)
    _drop(work, before, "baseline")
    if options.versions:
        versions.settle(work.streams, work.told, before, new, things, options)
    now = read_side(new, current_windows(options), work.streams, segments,
                    Things(options, ()) if options.versions else things[1], told, current=True)
    _drop(work, now, "current")
    judged = _judge(work, before, now, fit)
    return tell.comparison(tell.Found(options, work.chosen, before, now, fit, windows, things, judged, work.told,
                                      tuple(work.notes)), told)


def _vectors(work: _Work) -> list[str]:
    return [name for name, kind in work.chosen.kinds.items() if kind == "vector"]


def _fit(work: _Work, windows: Windows, fit: frozenset[int], counts: Counter[int]) -> dict[str, list[str]]:
    """Fit the streams; the values of the segment columns that are told apart."""
    kinds = work.chosen.kinds
    work.told |= {name: StreamTold(name, kind, "invalid", why) for name, (kind, why) in work.chosen.broken.items()}
    sample, values = sampled(work.old, windows, fit, counts, kinds, work.options, work.progress)
    for name, kind in kinds.items():
        if name in sample.broken:
            work.told[name] = StreamTold(name, kind, "invalid", f"baseline: {sample.broken[name]}")
            continue
        try:
            work.streams[name] = sample.stream(name, work.options)
        except DataError as error:
            reason = str(error) if fit else f"the baseline has no rows{_undated(counts, work.options)}"
            work.told[name] = StreamTold(name, kind, "no_data", reason)
    return {name: [value for value, _ in found.most_common(SEGMENTS)] for name, found in values.items()}


def _undated(counts: Mapping[int, int], options: Options) -> str:
    return f" with a time in {options.time}" if counts.get(NOWHERE) else ""


def _drop(work: _Work, side: Side, name: str) -> None:
    """Take out the streams that a side could not be read for."""
    for stream, why in side.broken.items():
        work.told[stream] = StreamTold(stream, work.streams.pop(stream).kind, "invalid", f"{name}: {why}")


def _judge(work: _Work, old: Side, new: Side, fit: frozenset[int]) -> dict[str, Judgement]:
    made = {}
    for done, (name, stream) in enumerate(work.streams.items()):
        work.progress("judging", done, len(work.streams))
        version = work.told.get(name)
        try:
            reference, held = reference_of(name, old, fit, work.options)
            if not new.states:
                raise DataError(f"the current side has no rows{_undated(new.counts, work.options)}", got=0)
            made[name] = judge_stream(stream, reference, held, new.of(name), work.options)
        except DataError as error:
            work.told[name] = StreamTold(name, stream.kind, "no_data", str(error),
                                         version=version.version if version else None)
    return made
