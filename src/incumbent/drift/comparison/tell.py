"""From judgements to what is told: the alarm over all columns, each column's status, windows and explanation."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.comparison import moves
from incumbent.drift.comparison.columns import Chosen
from incumbent.drift.comparison.gaps import absent_shares, gap_note, only_absent, unjudged, without_rows
from incumbent.drift.comparison.items import Things, table
from incumbent.drift.comparison.judging import Judgement, matrix
from incumbent.drift.comparison.options import Options, Progress
from incumbent.drift.comparison.result import Comparison, SideTold, StreamTold, WindowTold
from incumbent.drift.comparison.states import Side
from incumbent.drift.comparison.streams import Embedding
from incumbent.drift.comparison.together import Together, together
from incumbent.drift.comparison.windows import All, Windows
from incumbent.drift.detector import Result, Status
from incumbent.drift.explain import Explanation, explain
from incumbent.drift.item_table import ItemTable
from incumbent.drift.null import merged, size_of, tail_threshold
from incumbent.errors import DataError, IncumbentError

Array = NDArray[np.float64]
ROWS = ("rows are the null: without a time column the threshold comes from random parts of the baseline, so that days "
        "which merely differ from one another read as drift; --time cuts windows")


@dataclass(eq=False)
class Found:
    """All that was found, before it is told."""

    options: Options
    chosen: Chosen
    old: Side
    new: Side
    fit: frozenset[int]
    windows: Windows
    things: tuple[Things, Things]
    judged: dict[str, Judgement]
    told: dict[str, StreamTold]
    notes: tuple[str, ...]


def comparison(found: Found, progress: Progress) -> Comparison:
    """The whole comparison."""
    options, rows = found.options, found.options.time is None
    able = {name: one for name, one in found.judged.items() if one.judged}
    all_told = dict(found.told)
    for name, one in found.judged.items():
        if name not in able:
            all_told[name] = _unjudged(name, one, found)
    resolution = None
    if able:
        current = sorted({key for one in able.values() for key in one.judged})
        keys = [key for key in sorted(found.old.states) if any(key in one.held for one in able.values())]
        null, now = matrix(list(able.values()), keys, current, rows)
        said = together(null, now, alpha=options.alpha, seed=options.seed)
        if options.tail is None:
            resolution = said.resolution
        else:  # of the tail that gives p; by rank where there are too few windows for it
            for j, column in enumerate(null.T):
                with suppress(DataError):
                    said.threshold[j] = tail_threshold(column[~np.isnan(column)], options.alpha, options.tail)
        for j, (name, one) in enumerate(able.items()):
            progress("explaining", j, len(able))
            all_told[name] = _stream(found, name, one, said, j, (null[:, j], keys), current, len(able))
    order = {name: i for i, name in enumerate([*found.chosen.kinds, *found.chosen.broken])}
    streams = tuple(sorted(all_told.values(), key=lambda one: order.get(one.name, len(order))))
    status, reason = _verdict(streams, options)
    return Comparison(status, reason, "rows" if rows else "windows", options.alpha, resolution,
                      _side(found.old, found.windows, rows), _side(found.new, All() if rows else found.windows, False),
                      streams, tuple(found.chosen.left_out.items()), _notes(found))


def _stream(found: Found, name: str, one: Judgement, said: Together, j: int, null: tuple[Array, list[int]],
            current: list[int], columns: int) -> StreamTold:
    options, worst = found.options, one.worst
    assert worst is not None
    p, alone, method = float(said.adjusted[j]), float(said.alone[j]), "rows" if options.time is None else "windows"
    status: Status = "drift" if p <= options.alpha else "ok"
    first = worst.components[0]
    if options.tail is not None:
        ps = [judged.p_value for judged in one.judged.values()]
        alone = min(1.0, min(ps) * len(ps))
        p, method = min(1.0, alone * columns), f"windows, extrapolated ({options.tail})"
        status = "drift" if p <= options.alpha else "ok"
    reason = (f"{first.name} is {first.said}: p = {p:.3g} among {columns} "
              f"column{'s' if columns > 1 else ''}, alpha {options.alpha:g}")
    if options.tail is None and said.resolution > options.alpha:
        need = math.ceil(1 / options.alpha - 1e-9) - 1
        status, reason = "no_data", (
            f"{len(one.held)} windows of the baseline and {len(current)} of the current side cannot carry an alarm at "
            f"{options.alpha:g}: p is never below {said.resolution:.3g}; it takes {need} windows besides those that "
            "the cells were fitted on, or a tail asked for by name")
    now, then = merged(list(found.new.of(name).values())), one.reference.total
    if status == "drift" and only_absent(worst, float(said.threshold[j])):
        status, reason = "invalid", f"{absent_shares(one.stream, now, then)}; {reason}"
    broken, lost = unjudged(one)
    if lost:
        status, reason = "invalid" if broken and status == "ok" else status, f"{lost}; {reason}"
    version = found.told.get(name)
    return StreamTold(
        name, one.stream.kind, status, reason, None if status == "no_data" else p,
        None if status == "no_data" else alone, float(said.scores[j]), _finite(said.threshold[j]), method,
        worst.components, moves.changes(one.stream, now, then), moves.figures(one.stream, now, then),
        moves.statistics(one.stream, now, then) if options.statistics is None else (),
        _explained(found, name, one) if isinstance(one.stream, Embedding) and options.statistics is None else None,
        moves.segments(one.stream, found.new.segments, found.old.segments), version.version if version else None,
        _windows(found, name, one, float(said.threshold[j]), *null))


def _explained(found: Found, name: str, one: Judgement) -> Explanation | None:
    """What moved among the vectors, by items where a column names them, else by clusters alone."""
    state, frame = merged(list(found.new.of(name).values())), one.stream.zero.frame
    if not size_of(state):
        return None
    for items in (table(*found.things, name, frame.dimension), ItemTable([], np.empty((0, frame.dimension)))):
        try:
            return explain(state, one.reference.total, items)
        except IncumbentError:
            continue
    return None


def _windows(found: Found, name: str, one: Judgement, threshold: float, null: Array,
             keys: list[int]) -> tuple[WindowTold, ...]:
    """The windows of a column in time, baseline first; without times the current side alone."""
    rows = found.options.time is None
    label = (All() if rows else found.windows).label
    told = []
    if not rows:
        at = {key: i for i, key in enumerate(keys)}
        for key, state in found.old.of(name).items():
            score = _finite(null[at[key]]) if key in at else None
            fit = key in found.fit
            why = "the cells were fitted on it" if fit else "too few rows" if score is None else ""
            told.append(WindowTold(label(key), "baseline", size_of(state), "ok" if fit or score is not None else
                                   "no_data", why, score, None, score is not None and score > threshold))
    for key in sorted(one.results):
        result, judged = one.results[key], one.judged.get(key)
        score = None if judged is None else judged.score
        off = score is not None and score > threshold
        told.append(WindowTold(label(key), "current", result.n, _alone(result, off), result.reason if judged is None
                               else f"{result.components[0].name} {result.components[0].units}",
                               score, None if judged is None else judged.p_value, off))
    if not rows:
        told += [WindowTold(label(key), "baseline", 0, "no_data", "no rows") for key in without_rows(found.old.states)]
        told += [WindowTold(label(key), "current", 0, "no_data", "no rows") for key in without_rows(found.new.states)]
        told.sort(key=lambda one: (one.side, one.window))
    return tuple(told)


def _alone(result: Result, off: bool) -> Status:
    return ("drift" if off else "ok") if result.status in ("ok", "drift") else result.status


def _unjudged(name: str, one: Judgement, found: Found) -> StreamTold:
    """A column of which no current window could be judged: invalid where any is, else no data."""
    results = list(one.results.values())
    first = next((result for result in results if result.status == "invalid"), results[0])
    label = (All() if found.options.time is None else found.windows).label
    windows = tuple(WindowTold(label(key), "current", result.n, result.status, result.reason)
                    for key, result in sorted(one.results.items()))
    figures = moves.figures(one.stream, merged(list(found.new.of(name).values())), one.reference.total)
    version = found.told.get(name)
    return StreamTold(name, one.stream.kind, first.status, first.reason, figures=figures, windows=windows,
                      version=version.version if version else None)


def _verdict(streams: tuple[StreamTold, ...], options: Options) -> tuple[Status, str]:
    by = {status: [one for one in streams if one.status == status] for status in ("drift", "invalid", "ok", "no_data")}
    names = {status: ", ".join(one.name for one in some[:5]) + (" ..." if len(some) > 5 else "")
             for status, some in by.items()}
    if by["drift"]:
        beside = f"; {names['invalid']} cannot be compared" if by["invalid"] else ""
        return "drift", (f"{len(by['drift'])} of {len(streams)} columns drifted: {names['drift']} "
                         f"(chance of any alarm without drift: {options.alpha:g}){beside}")
    if by["invalid"]:
        return "invalid", f"{names['invalid']} cannot be compared: {by['invalid'][0].reason}"
    if by["ok"]:
        beside = f"; no data for {names['no_data']}" if by["no_data"] else ""
        return "ok", (f"none of {len(by['ok'])} columns drifted (chance of any alarm without drift: "
                      f"{options.alpha:g}){beside}")
    return "no_data", by["no_data"][0].reason


def _side(side: Side, windows: Windows, lots: bool) -> SideTold:
    keys = sorted(side.states)
    first, last = (windows.label(keys[0]), windows.label(keys[-1])) if keys and not lots else ("", "")
    return SideTold(side.source.name, side.rows, 1 if lots else len(keys), side.undated, first, last)


def _notes(found: Found) -> tuple[str, ...]:
    notes = [ROWS] if found.options.time is None else [
        f"windows are the null: {len(found.old.states) - len(found.fit)} {found.options.every}s of the baseline, each "
        f"judged against the others; cells were fitted on {len(found.fit)} more"]
    every = found.options.every
    for side, keys in (() if found.options.time is None else (("baseline", found.old.states),
                                                              ("current side", found.new.states))):
        notes += [note] if (note := gap_note(side, keys, found.windows, every)) else []
    for name, one in found.judged.items():
        lost = unjudged(one)[1] if one.judged else ""
        notes += [f"{name}: {lost}"] if lost else []
    if found.options.tail:
        notes.append(f"p-values and thresholds are extrapolated from a fitted tail ({found.options.tail})")
    if found.options.statistics is not None:
        notes.append(f"judged by {', '.join(found.options.statistics)} alone: what only others see goes unseen")
    left = sum(things.left for things in found.things)
    if left:
        notes.append(f"{left:,} rows of items beyond the first {len(found.things[0].ids):,} are not named")
    return (*notes, *found.notes)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
