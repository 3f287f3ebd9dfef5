"""Reading a side: one pass over its batches into a state per stream and window, and per stream and segment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from incumbent.drift.comparison.items import Things
from incumbent.drift.comparison.options import Options, Progress
from incumbent.drift.comparison.streams import SAMPLE, Sample, Stream
from incumbent.drift.comparison.windows import NOWHERE, Windows, lot
from incumbent.drift.frames.source import BATCH, Source
from incumbent.drift.frames.values import Whole, chosen, ids
from incumbent.errors import DataError

SEGMENTS = 12  # values of a segment column that are told apart
OTHER = "(other)"


@dataclass(eq=False)
class Side:
    """A side as states: ``states[window][stream]``, ``segments[column][value][stream]``; rows per window.

    `broken` says why a stream could not be read, `undated` counts rows without a time.
    """

    source: Source
    rows: int = 0
    undated: int = 0
    counts: Counter[int] = field(default_factory=Counter)
    states: dict[int, dict[str, Any]] = field(default_factory=dict)
    segments: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def of(self, stream: str) -> dict[int, Any]:
        """The stream's state of every window, in order."""
        return {key: self.states[key][stream] for key in sorted(self.states)}


def sampled(
    source: Source, windows: Windows, fitted: frozenset[int], counts: Mapping[int, int], kinds: Mapping[str, str],
    options: Options, progress: Progress,
) -> tuple[Sample, dict[str, Counter[str]]]:
    """What streams are fitted on, from one reading of the fitted windows; and the values of the segment columns."""
    sample, segments = Sample(kinds), {name: Counter[str]() for name in options.segments}
    share = min(1.0, SAMPLE / max(sum(counts.get(key, 0) for key in fitted), 1))
    wanted = list(dict.fromkeys([*windows.columns, *kinds, *options.segments])) or list(source.columns)[:1]
    start, allowed = 0, np.array(sorted(fitted), dtype=np.int64)
    for batch in source.batches(wanted):
        keys = windows.of(batch, start)
        inside = np.flatnonzero(np.isin(keys, allowed))
        if len(inside):
            some = inside[lot(start + inside, options.seed + 1) < share]
            for name, kind in kinds.items():
                sample.add(name, chosen(batch[name], inside if kind == "ids" else some))
            for name, found in segments.items():
                values, index = ids(chosen(batch[name], inside))
                found.update(dict(zip((_named(v) for v in values), np.bincount(index).tolist(), strict=False)))
        start += len(keys)
        progress(f"fitting on {source.name}", start, source.rows)
    return sample, segments


def read_side(
    source: Source, windows: Windows, streams: Mapping[str, Stream], segments: Mapping[str, Iterable[str]],
    things: Things, progress: Progress, *, current: bool,
) -> Side:
    """One pass over a side. Memory: a state per window, stream and segment, the items, and one batch of rows."""
    side = Side(source)
    wanted = list(dict.fromkeys([*windows.columns, *streams, *segments, *things.columns])) or list(source.columns)[:1]
    kept = {name: frozenset(values) for name, values in segments.items()}
    for batch in source.batches(wanted, BATCH):
        keys = windows.of(batch, side.rows)
        side.rows += len(keys)
        for key, rows in _groups(keys):
            if key == NOWHERE:
                side.undated += len(rows)
                continue
            side.counts[key] += len(rows)
            held = side.states.setdefault(key, {name: stream.zero for name, stream in streams.items()})
            _add(side, held, streams, batch, rows if len(rows) < len(keys) else None, current)
        for name, values in kept.items():
            parts = side.segments.setdefault(name, {})
            for value, rows in _segments(batch[name], values):
                held = parts.setdefault(value, {one: stream.zero for one, stream in streams.items()})
                _add(side, held, streams, batch, rows, False)
        things.add(batch)
        progress(f"reading {source.name}", side.rows, source.rows)
    return side


def _add(side: Side, held: dict[str, Any], streams: Mapping[str, Stream], batch: Mapping[str, Any],
         rows: Whole | None, current: bool) -> None:
    for name, stream in streams.items():
        if name in side.broken:
            continue
        column = batch[name] if rows is None else chosen(batch[name], rows)
        try:
            held[name] = stream.update(held[name], column, current=current)
        except DataError as error:
            side.broken[name] = str(error)


def _groups(keys: Whole) -> Iterable[tuple[int, Whole]]:
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    for rows in np.split(order, ends):
        if len(rows):
            yield int(keys[rows[0]]), rows


def _segments(column: Any, kept: frozenset[str]) -> Iterable[tuple[str, Whole]]:
    values, index = ids(column)
    names = [name if (name := _named(value)) in kept else OTHER for value in values]
    where = {name: place for place, name in enumerate(dict.fromkeys(names))}
    of = np.array([where[name] for name in names], dtype=np.int64)[index]
    for name, place in where.items():
        rows = np.flatnonzero(of == place)
        if len(rows):
            yield name, rows


def _named(value: str | None) -> str:
    return "(missing)" if value is None else value
