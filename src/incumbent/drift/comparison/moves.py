"""What moved in a column: the values or ranges whose shares changed most, and plain figures of both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.drift import categorical, divergence, embedding, numeric
from incumbent.drift.breakdown import ShareChange
from incumbent.drift.comparison.result import SegmentTold
from incumbent.drift.comparison.streams import Embedding, Ids, Numbers
from incumbent.drift.decompose import decompose
from incumbent.drift.segments import segment_changes
from incumbent.errors import DataError
from incumbent.stats.numeric import Numeric

MOST = 10
Figures = tuple[tuple[str, float | None, float | None], ...]
Statistics = tuple[tuple[str, float | None], ...]


def changes(stream: Any, current: Any, reference: Any) -> tuple[ShareChange, ...]:
    """The shares that moved most, with their parts of the divergence; empty for vectors, and without rows on a side."""
    if isinstance(stream, Numbers):
        return _told(_ranges(reference), current.coarse, reference.coarse)
    if isinstance(stream, Ids):
        names = [*stream.vocabulary.ids[:len(reference.top) - 1], "(other known)", "(new)", "(delisted)"]
        now, then = (np.append(side.top, side.popularity[-2:]) for side in (current, reference))
        return _renamed(_told(names, now, then), stream.new)
    return ()


def figures(stream: Any, current: Any, reference: Any) -> Figures:
    """Plain numbers of reference and current."""
    if isinstance(stream, Numbers):
        return (("mean", reference.mean().value, current.mean().value),
                ("standard deviation", _spread(reference), _spread(current)),
                ("absent", reference.absent_share().value, current.absent_share().value))
    if isinstance(stream, Ids):
        return (("new", _share(reference.new, reference.n), _share(current.new, current.n)),
                ("missing", reference.missing_share().value, current.missing_share().value))
    return tuple((kind, *(_share(side.defect_counts()[kind], int(side.n + side.defects.sum()))
                          for side in (reference, current))) for kind in reference.defect_counts())


def statistics(stream: Any, current: Any, reference: Any) -> Statistics:
    """Every statistic of the column's kind by name, of the current rows against all of the baseline: plain numbers,
    held against no null; empty without sound rows on a side."""
    scores = embedding.scores if isinstance(stream, Embedding) else (
        categorical.scores if isinstance(stream, Ids) else numeric.scores)
    try:
        found = scores(current, reference)
    except DataError:
        return ()
    return tuple((name, float(value) if np.isfinite(value) else None) for name, value in found.items())


def segments(
    stream: Any, current: Mapping[str, Mapping[str, Mapping[str, Any]]],
    reference: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> tuple[SegmentTold, ...]:
    """By segment column: every value's own change of mix (vectors, ids), or mix against change within (numbers)."""
    told = []
    for column in current:
        now, then = ({value: states[stream.name] for value, states in side.get(column, {}).items()
                      if stream.name in states} for side in (current, reference))
        if isinstance(stream, Embedding | Ids):
            told.append(SegmentTold(column, mixes=tuple(segment_changes(now, then))))
        elif isinstance(stream, Numbers) and any(s.n for s in now.values()) and any(s.n for s in then.values()):
            told.append(SegmentTold(column, mean=decompose(_sums(now), _sums(then))))
    return tuple(told)


def _sums(states: Mapping[str, Numeric]) -> dict[str, tuple[float, float]]:
    return {value: (int(state.n), (state.mean().value or 0.0) * int(state.n)) for value, state in states.items()
            if int(state.n)}


def _told(names: list[str], now: NDArray[Any], then: NDArray[Any]) -> tuple[ShareChange, ...]:
    n, m = float(now.sum()), float(then.sum())
    if not n or not m:
        return ()
    parts = divergence.js_parts(now, then)
    total = float(parts.sum())
    return tuple(ShareChange(names[k], float(then[k] / m), float(now[k] / n), float(parts[k] / total))
                 for k in np.argsort(-parts, kind="stable")[:MOST] if parts[k] > 0 and total > 0)


def _renamed(told: tuple[ShareChange, ...], new: Counter[str]) -> tuple[ShareChange, ...]:
    """The new ids by name, the commonest first."""
    named = ", ".join(name for name, _ in new.most_common(3))
    return tuple(ShareChange(f"(new) {named}" + (" ..." if len(new) > 3 else ""), one.reference, one.current, one.part)
                 if one.name == "(new)" and named else one for one in told)


def _ranges(state: Numeric) -> list[str]:
    """The names of the coarse cells: ranges, and values that have a cell of their own."""
    edges = state.edges[state.config["coarse"]]
    inner = [f"{a:.4g}" if b == np.nextafter(a, np.inf) else f"{a:.4g} to {b:.4g}"
             for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    return [f"below {edges[0]:.4g}", *inner, f"{edges[-1]:.4g} or more"]


def _spread(state: Numeric) -> float | None:
    return float(np.sqrt(state.variance())) if int(state.n) > 1 else None


def _share(count: int, rows: int) -> float | None:
    return count / rows if rows else None
