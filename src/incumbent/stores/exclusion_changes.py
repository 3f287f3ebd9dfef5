"""What a shopper excluded and took back over time: changes by time, and the spans in which they held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

KEPT = 200  # changes of one thing by one shopper; the oldest go
Change = tuple[datetime, bool]  # since when it is excluded, or is not
Spans = tuple[tuple[datetime, datetime | None], ...]  # from, until; None: it still holds


def told(changes: Sequence[Change], at: datetime, *, excluded: bool, late: bool = False) -> tuple[Change, ...]:
    """The changes by time with one more; the last is what stands.

    What is told holds from its time on, so it takes the place of changes of that time or later. A `late` one is put in
    by its time and changes nothing that is of its time or newer. Repetitions before the last are dropped.

    >>> day = [datetime(2026, 3, n) for n in range(1, 9)]
    >>> changes = told(told((), day[1], excluded=True), day[3], excluded=False)
    >>> [(at.day, on) for at, on in told(changes, day[2], excluded=False, late=True)]
    [(2, True), (3, False), (4, False)]
    >>> [(at.day, on) for at, on in told(changes, day[0], excluded=True)]
    [(1, True)]
    """
    if late and any(when == at for when, _ in changes):
        return tuple(changes)
    kept = [one for one in changes if late or one[0] < at]
    made = sorted([*kept, (at, excluded)])
    inner = [one for n, one in enumerate(made[:-1]) if one[1] != (made[n - 1][1] if n else False)]
    return (*inner, made[-1])[-KEPT:]


def spans(changes: Sequence[Change]) -> Spans:
    """When it was excluded: from each change to it until the next away from it.

    >>> day = [datetime(2026, 3, n) for n in range(1, 9)]
    >>> [(a.day, b and b.day) for a, b in spans([(day[0], True), (day[1], False), (day[4], True), (day[5], True)])]
    [(1, 2), (5, None)]
    """
    out: list[tuple[datetime, datetime | None]] = []
    since: datetime | None = None
    for at, excluded in changes:
        if excluded and since is None:
            since = at
        elif not excluded and since is not None:
            out.append((since, at))
            since = None
    return (*out, *([] if since is None else [(since, None)]))
