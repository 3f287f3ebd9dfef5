"""Expectation: a bound that a number must hold, and the pure judgement of whether it does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from incumbent.stats.estimate import Estimate

Compare = Literal["value", "difference", "relative"]
Holds = Literal["interval", "point"]
Status = Literal["passed", "failed", "missing"]
#: what is compared, as it is said
COMPARED: dict[str, str] = {"value": "candidate", "difference": "candidate - champion",
                            "relative": "candidate / champion - 1"}


@dataclass(frozen=True)
class Expectation:
    """`metric` of the candidate (`compare` value), or against the champion, within [at_least, at_most].

    With `holds` interval the whole interval must lie within the bounds, with point the value alone. `slice`: context
    keys and the values that a request must have; ``*`` stands for each value by itself. `missing` says what becomes of
    it where there is no number: fail, or pass.
    """

    metric: str
    compare: Compare = "value"
    at_least: float | None = None
    at_most: float | None = None
    holds: Holds = "interval"
    slice: tuple[tuple[str, str], ...] = ()
    missing: Literal["fail", "pass"] = "fail"
    name: str = ""

    @property
    def title(self) -> str:
        """Its name, or else its metric and slice.

        >>> Expectation("mrr@10", slice=(("country", "DE"),)).title
        'mrr@10 [country=DE]'
        """
        where = ", ".join(f"{key}={value}" for key, value in self.slice)
        return (self.name or self.metric) + (f" [{where}]" if where else "")

    @property
    def bounds(self) -> str:
        """What is expected, as a sentence.

        >>> Expectation("mrr@10", "difference", at_least=-0.01).bounds
        'candidate - champion at least -0.01, for the whole interval'
        """
        ends = [f"{word} {bound:g}" for word, bound in (("at least", self.at_least), ("at most", self.at_most))
                if bound is not None]
        how = "for the whole interval" if self.holds == "interval" else "for the value"
        return f"{COMPARED[self.compare]} {' and '.join(ends)}, {how}"


@dataclass(frozen=True)
class Outcome:
    """What came of one expectation: the number that was judged, both models' own, the status and the sentence."""

    expectation: Expectation
    estimate: Estimate
    champion: Estimate
    candidate: Estimate
    status: Status
    message: str
    users: int = 0
    number: int = 0  # of the expectation in its file; several outcomes have it where a slice is ``*``

    @property
    def ok(self) -> bool:
        """May the release go on, as far as this one is asked?"""
        return self.status == "passed" or (self.status == "missing" and self.expectation.missing == "pass")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        e = self.expectation
        return {"title": e.title, "metric": e.metric, "compare": e.compare, "slice": dict(e.slice),
                "at_least": e.at_least, "at_most": e.at_most, "holds": e.holds, "status": self.status, "ok": self.ok,
                "message": self.message, "users": self.users, "estimate": self.estimate.to_dict(),
                "champion": self.champion.to_dict(), "candidate": self.candidate.to_dict()}


def judge(expectation: Expectation, estimate: Estimate) -> tuple[Status, str]:
    """The status of an estimate under an expectation, and the sentence that says why.

    A missing estimate, or one without an interval where the interval is asked for, is neither passed nor failed.

    >>> judge(Expectation("mrr@10", at_least=0.2), Estimate(0.25, 0.19, 0.31, n=40))[1]
    'got 0.25 [0.19, 0.31], n 40: the value holds, its interval does not; more users may settle it'
    """
    if estimate.value is None:
        return "missing", f"no number: {estimate.reason}"
    low = -math.inf if expectation.at_least is None else expectation.at_least
    high = math.inf if expectation.at_most is None else expectation.at_most
    inside = low <= estimate.value <= high
    said = f"got {say(estimate)}"
    if expectation.holds == "point":
        return ("passed", said) if inside else ("failed", f"{said}: {_side(estimate.value, low)} bound")
    if estimate.low is None or estimate.high is None:
        return "missing", f"{said}: it has no interval to judge by"
    if low <= estimate.low and estimate.high <= high:
        return "passed", said
    if inside:
        return "failed", f"{said}: the value holds, its interval does not; more users may settle it"
    return "failed", f"{said}: {_side(estimate.value, low)} bound"


def breached(expectation: Expectation, estimate: Estimate) -> bool | None:
    """Whether a window of traffic breaks an expectation: True, False, or None where it cannot be told.

    A release must show that it holds; what runs is held to be sound until the opposite is shown. Under `holds` interval
    that is an interval that lies wholly outside the bounds; one that straddles a bound tells nothing.

    >>> [breached(Expectation("mrr@10", at_least=0.3), Estimate(0.2, 0.1, high, n=9)) for high in (0.25, 0.35)]
    [True, None]
    """
    status, _ = judge(expectation, estimate)
    if status != "failed" or expectation.holds == "point":
        return None if status == "missing" else status == "failed"
    over = expectation.at_most is not None and estimate.low is not None and estimate.low > expectation.at_most
    under = expectation.at_least is not None and estimate.high is not None and estimate.high < expectation.at_least
    return True if over or under else None


def say(estimate: Estimate) -> str:
    """A number with its interval, unit and n, or why it is missing.

    >>> say(Estimate(0.25, 0.2, 0.3, n=9, unit="per list"))
    '0.25 [0.2, 0.3] per list, n 9'
    >>> say(Estimate(0.25, -math.inf, math.inf, n=1))
    '0.25 (too few for an interval), n 1'
    """
    if estimate.value is None:
        return f"none ({estimate.reason})"
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.4g}, {estimate.high:.4g}]"
    if estimate.low == -math.inf and estimate.high == math.inf:
        ends = " (too few for an interval)"
    return f"{estimate.value:.4g}{ends}{' ' + estimate.unit if estimate.unit else ''}, n {estimate.n}"


def _side(value: float, low: float) -> str:
    return "it is below the lower" if value < low else "it is above the upper"
