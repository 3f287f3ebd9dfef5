"""What is not there: values that are missing or broken, windows that cannot be judged, windows without a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from incumbent.drift.comparison.judging import Judgement
from incumbent.drift.comparison.moves import figures
from incumbent.drift.comparison.streams import Embedding
from incumbent.drift.comparison.windows import MOST, Windows
from incumbent.drift.detector import Result

#: components that say how much is missing or broken, and nothing of the values that are there
ABSENT = ("absent", "missing", "defects")
_NAMED = 5


def only_absent(worst: Result, threshold: float) -> bool:
    """Whether what is off is the share of missing or broken values alone; `threshold` is that of one window."""
    there = max((part.standardised for part in worst.components if part.name not in ABSENT), default=0.0)
    return worst.components[0].name in ABSENT and not there > threshold


def absent_shares(stream: Any, current: Any, reference: Any) -> str:
    """How much is missing or broken now, and was in the baseline, in a sentence."""
    parts = [one for one in figures(stream, current, reference) if isinstance(stream, Embedding) or one[0] in ABSENT]
    then, now = sum(one[1] or 0.0 for one in parts), sum(one[2] or 0.0 for one in parts)
    return f"{now:.1%} of the values are missing or broken, {then:.1%} in the baseline"


def unjudged(one: Judgement) -> tuple[bool, str]:
    """Whether any current window is invalid; and how many could not be judged, with the first reason; empty where all
    could."""
    lost = [result for key, result in one.results.items() if key not in one.judged]
    if not lost:
        return False, ""
    first = next((result for result in lost if result.status == "invalid"), lost[0])
    return first.status == "invalid", (f"{len(lost)} of {len(one.results)} current windows could not be judged: "
                                       f"{first.reason}")


def without_rows(keys: Iterable[int]) -> list[int]:
    """The windows between the first and the last that have no row; none where they are past counting.

    >>> without_rows([3, 5, 7])
    [4, 6]
    """
    there = sorted(keys)
    if not there or there[-1] - there[0] > 10 * MOST:
        return []
    held = set(there)
    return [key for key in range(there[0], there[-1]) if key not in held]


def gap_note(side: str, keys: Iterable[int], windows: Windows, every: str) -> str:
    """Which windows of a side have no rows, in a sentence; empty where there is none."""
    found, lost = set(keys), without_rows(keys)
    if not lost:
        return ""
    named = ", ".join(windows.label(key) for key in lost[:_NAMED]) + (", ..." if len(lost) > _NAMED else "")
    return f"{len(lost)} of {len(lost) + len(found)} {every}s of the {side} have no rows: {named}"
