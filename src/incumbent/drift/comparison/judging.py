"""Judging a stream: every current window against the baseline's, and its scores beside those of the null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.comparison.options import Options
from incumbent.drift.comparison.states import Side
from incumbent.drift.comparison.streams import Stream
from incumbent.drift.detector import BaselineWindow, Reference, Result
from incumbent.drift.null import LEAST, Judged, size_of
from incumbent.errors import DataError, IncumbentError

Array = NDArray[np.float64]


@dataclass(eq=False)
class Judgement:
    """One stream: a result per current window; scores of the null by window of the baseline (or by draw)."""

    stream: Stream
    reference: Reference
    held: tuple[int, ...]
    results: dict[int, Result]
    judged: dict[int, Judged] = field(default_factory=dict)

    @property
    def null(self) -> tuple[float, ...]:
        """The scores of the null, as the first judged window saw them."""
        return next(iter(self.judged.values())).null if self.judged else ()

    @property
    def worst(self) -> Result | None:
        """The result of the current window that is furthest off."""
        return self.results[max(self.judged, key=lambda key: self.judged[key].score)] if self.judged else None


def reference_of(stream: str, old: Side, fitted: frozenset[int], options: Options) -> tuple[Reference, tuple[int, ...]]:
    """The baseline of a stream, and which of its windows make the null: not fitted on, of enough rows, any sound."""
    states, held = old.of(stream), []
    windows = []
    for key, state in states.items():
        in_null = key not in fitted and (
            options.time is None or old.counts[key] >= options.least_rows) and size_of(state) > 0
        windows.append(BaselineWindow(state, fitted=not in_null))
        held += [key] if in_null else []
    return Reference(tuple(windows)), tuple(held)


def judge_stream(
    stream: Stream, reference: Reference, held: tuple[int, ...], current: Mapping[int, Any], options: Options
) -> Judgement:
    """Every current window judged alone; `DataError` where the baseline has too few windows or no sound rows."""
    rows = options.time is None
    if not reference.seen or not size_of(reference.total):
        raise DataError("the baseline holds no sound value", got=0, field=stream.name)
    if len(held) < LEAST:
        what = "random parts" if rows else f"{options.every}s of {options.least_rows} rows or more"
        raise DataError(f"the baseline has too few {what}, besides those that its cells were fitted on", got=len(held),
                        expected=f"{LEAST} or more", field=stream.name)
    detector = stream.detector("rows" if rows else options.tail, options.least_rows, rows)
    if not rows:
        reference = detector.calibrate(reference)
    made = Judgement(stream, reference, held, {})
    for key in sorted(current):
        try:
            made.results[key], judged = detector.judged(current[key], reference)
        except IncumbentError as error:
            made.results[key], judged = Result(status="invalid", severity="ticket", reason=str(error)), None
        if judged is not None:
            made.judged[key] = judged
    return made


def matrix(made: list[Judgement], keys: list[int], current: list[int], rows: bool) -> tuple[Array, Array]:
    """The scores of the null (m, s) and of the current windows (k, s), NaN where a stream has none."""
    if rows:
        null = np.full((max(len(one.null) for one in made), len(made)), np.nan)
        for j, one in enumerate(made):
            null[:len(one.null), j] = one.null
    else:
        at = {key: i for i, key in enumerate(keys)}
        null = np.full((len(keys), len(made)), np.nan)
        for j, one in enumerate(made):
            null[[at[key] for key in one.held], j] = one.null
    now = np.full((len(current), len(made)), np.nan)
    for j, one in enumerate(made):
        for i, key in enumerate(current):
            if key in one.judged:
                now[i, j] = one.judged[key].score
    return null, now
