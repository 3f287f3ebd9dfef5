"""Guardrails: what must not get worse, per stage, against the holdout or against the champion on the same requests.

*Of the lane* (revenue, conversions): ``effect = (R_interleave / R_holdout - 1) / share`` with ``R = S / N``: S what was
bought in the stage less refunds, N the users met by any stage so far whose lane in this one it is, whether or not they
came back: a rung's ``lane_share`` moves users from `rest` into the lane, by hash, on its first day. A user enters N
with the first request of all, before the candidate can have done anything to them, and stays, so N cannot be touched
by what is being judged: shoppers whom a bad candidate drives away stay in the denominator and bring nothing. (Per day
on which a user came, they would leave numerator and denominator together, and a loss of visits could not be seen.) Both
lanes have the same days, so per user and per user-day of the stage are one comparison. Assignment is by hash, which
makes the ratio of the two R an effect of assignment, whatever S is counted over, as long as it is counted alike.
Only the share's part of the slots differs, so the lane shows ``loss * share`` of a loss in the candidate's slots;
margins apply after the division, stages are never pooled (each has its own share), and the unit is the user: S and N
are sums per bucket of users, ``se^2 = k/(k-1) sum_j (S_j - R N_j)^2 / N^2``.
*Of the model* (error and timeout rate, latency): candidate minus champion on the same requests of the stage, no
division. ``latency_p95`` and ``latency_p99`` compare the part of the answers that take longer than the champion's own
quantile, frozen when the experiment starts: a rate, bounded and additive, which a few outliers cannot carry away as
they do a mean; the candidate's quantile is above that bar exactly where more than 5 % (1 %) of its answers are slow.
A hard limit is held against the last day alone: an SLO is about now.

The interval is Fieller's, with the normal-mixture boundary of a confidence sequence in *information* time ``1 / se^2``:
a user who comes back adds rows every day but little information, and counting rows or users in its place runs a clock
that these data do not keep. Nothing is judged while the standard error of either lane's own rate is above a tenth of
it (about a hundred effective buyers): below that, few buyers make a lucky lane look certain. Measured error rates stand
in docs/decide/error-rates.md. Sources: Fieller, JRSS B 16 (1954); Waudby-Smith et al., arXiv 2103.06476.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from incumbent.config import GuardrailConfig
from incumbent.experiments.evidence import GuardrailStatus, Reading
from incumbent.stats import anytime
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate

#: the largest relative standard error of a lane's own rate at which it is looked at
MAX_RELATIVE_SE = 0.1
#: the relative standard error of the lane effect at which its confidence sequence is tightest
TUNED_RELATIVE_SE = 0.033
#: buckets of users with anybody in them, per lane, before a look: the sample size of every variance here
MIN_BUCKETS = 100
#: requests before a rate or a latency is looked at
MIN_REQUESTS = 100
#: a rate is never taken for more certain than if this many requests had gone wrong
EVENTS_FLOOR = 10
_INFORMATION = 1e6  # information units per 1/se^2 of 1e-3, so that rounding n to a whole number is harmless


class Source(Struct, frozen=True):
    """Where a guardrail's numbers stand: variables of `Buckets` per row of its grain."""

    scope: Literal["lane", "model"]
    numerator: str
    denominator: str | None  # None counts rows
    worse: Literal["lower", "higher"]
    unit: str


#: metric -> source. Of the lane: rows are users of the lane. Of the model: rows are requests, one state per role.
SOURCES: dict[str, Source] = {
    "revenue_per_user_day": Source("lane", "revenue", "users", "lower", "minor units / user"),
    "conversion_per_user_day": Source("lane", "conversions", "users", "lower", "days with a purchase / user"),
    "error_rate": Source("model", "errors", None, "higher", "errors / request"),
    "timeout_rate": Source("model", "timeouts", None, "higher", "timeouts / request"),
    "latency_ms": Source("model", "latency_ms", None, "higher", "ms"),
    "latency_p95": Source("model", "over_p95", None, "higher", "slow answers / request"),
    "latency_p99": Source("model", "over_p99", None, "higher", "slow answers / request"),
}


def lane_effect(lane: Buckets, holdout: Buckets, source: Source, *, alpha: float) -> Estimate:
    """``R_lane / R_holdout - 1`` with two one-sided confidence sequences, each at `alpha`, as its ends.

    Both are `Buckets` with a row per user of the lane: `source.denominator` 1, the numerator what the user brought.
    Missing, with the reason, without users in either lane, with users in fewer than 100 buckets, where a rate is not
    above 0, or while either rate is known to less than a tenth of itself.
    """
    sides = {}
    for name, state in (("interleave lane", lane), ("holdout", holdout)):
        rate = state.ratio(source.numerator, source.denominator)
        if rate.value is None:
            return Estimate.missing(f"{name}: {rate.reason}", n=rate.n)
        used = int((state.rows > 0).sum())
        if used < MIN_BUCKETS:
            return Estimate.missing(f"{name}: its users fill {used} of the {MIN_BUCKETS} buckets before the first look",
                                    n=rate.n)
        if rate.value <= 0 or rate.se is None:
            return Estimate.missing(f"{name}: nothing to compare, its rate is {rate.value:g}", n=rate.n)
        if rate.se > MAX_RELATIVE_SE * rate.value:
            return Estimate.missing(f"{name}: known to {rate.se / rate.value:.0%} of itself, a look needs "
                                    f"{MAX_RELATIVE_SE:.0%} or better (n = {rate.n} users)", n=rate.n)
        sides[name] = rate
    return fieller(sides["interleave lane"], sides["holdout"], alpha=alpha)


def fieller(top: Estimate, bottom: Estimate, *, alpha: float) -> Estimate:
    """``top / bottom - 1`` of two independent positive rates with known standard errors, by Fieller's theorem.

    The ends solve ``(a - t b)^2 = c^2 (va + t^2 vb)`` with c the sequence's boundary in standard errors at this much
    information; they are infinite where the bottom cannot be told from 0.

    >>> e = fieller(Estimate(9.0, se=0.1, n=900), Estimate(10.0, se=0.1, n=1000), alpha=0.05)
    >>> round(e.value, 3), e.low < -0.1 < e.high < 0
    (-0.1, True)
    """
    assert top.value is not None and bottom.value is not None and top.se is not None and bottom.se is not None
    a, b, va, vb = top.value, bottom.value, top.se**2, bottom.se**2
    value = a / b - 1
    se = math.sqrt(va + (a / b) ** 2 * vb) / b
    plain = Estimate(value, se=se, n=top.n + bottom.n, method="Fieller, confidence sequence in information time")
    if se == 0:
        return replace(plain, low=value, high=value)
    c = _boundary(se, TUNED_RELATIVE_SE, alpha)
    square = b * b - c * c * vb
    if square <= 0:
        return replace(plain, low=-math.inf, high=math.inf)
    root = c * math.sqrt(a * a * vb + va * square)
    return replace(plain, low=(a * b - root) / square - 1, high=(a * b + root) / square - 1)


def model_effect(
    candidate: Buckets, champion: Buckets, source: Source, *, tuned_se: float, alpha: float
) -> Estimate:
    """Candidate minus champion per request, on the same requests, with two one-sided confidence sequences as its ends.

    Clustered by user: ``se^2 = k/(k-1) sum_j (d_j)^2`` with ``d_j`` the difference of both models' residuals in
    bucket j of users, each over its own number of requests. For rates the variance has a floor, so that no error in a
    few hundred requests is not taken for no errors ever.
    """
    n, k = min(int(state.rows.sum()) for state in (candidate, champion)), len(candidate.rows)
    if n < MIN_REQUESTS:
        return Estimate.missing(f"{n} of the {MIN_REQUESTS} requests before the first look", n=n, unit=source.unit)
    (one, mean), (other, base) = (_residuals(state, source.numerator) for state in (candidate, champion))
    value, rest = mean - base, one - other
    se = math.sqrt(k / (k - 1) * float(rest @ rest))
    if source.unit.endswith("/ request"):
        se = max(se, math.sqrt(EVENTS_FLOOR) / n)
    plain = Estimate(value, se=se, n=n, method="paired by request, confidence sequence in information time",
                     unit=source.unit)
    if se == 0:
        return replace(plain, low=value, high=value)
    half = _boundary(se, tuned_se, alpha) * se
    return replace(plain, low=value - half, high=value + half)


def read(
    config: GuardrailConfig, states: Mapping[str, Buckets], *, stage: str, share: float, alpha: float,
    recent: Buckets | None = None,
) -> Reading:
    """One guardrail in one stage, judged against its margin.

    `states`: ``interleave`` and ``holdout`` for metrics of the lane, ``candidate`` and ``champion`` for those of the
    model; an absent one is missing. `alpha` is already divided by the number of guardrails. `recent` is the candidate's
    state of the last day, against which a hard limit is held (None: nothing recent is known, no limit is passed).
    """
    source = SOURCES[config.metric]
    level = Estimate.missing("no level is judged", unit=source.unit)
    if source.scope == "lane":
        whole = _of_lane(states, source, share, alpha)
        effect = whole if whole.value is None else whole.scaled(1 / share)
    else:
        whole = effect = _of_model(states, source, config.margin, alpha)
        level = _level(recent, source)
    status, reason = judge(effect, config.margin, source.worse)
    over = config.hard_limit is not None and level.value is not None and level.value > config.hard_limit
    return Reading(
        metric=config.metric, stage=stage, share=share, margin=config.margin, required=config.required,
        worse=source.worse, effect=effect, lane_effect=whole, status=status, reason=reason,
        hard_limit=config.hard_limit, level=level, over_limit=over)


def judge(effect: Estimate, margin: float, worse: Literal["lower", "higher"]) -> tuple[GuardrailStatus, str]:
    """Where an effect stands against its margin, in words.

    >>> judge(Estimate(-0.01, -0.04, 0.02, n=9), 0.05, "lower")
    ('ok', 'no worse than its margin 0.05: -0.01 [-0.04, 0.02]')
    """
    if effect.value is None:
        return "missing", effect.reason or "missing"
    low, high = (math.nan if end is None else end for end in (effect.low, effect.high))
    told = f"{effect.value:.3g} [{low:.3g}, {high:.3g}]"
    if (high < -margin) if worse == "lower" else (low > margin):
        return "harm", f"harm beyond its margin {margin:g} is proven: {told}"
    if (low > -margin) if worse == "lower" else (high < margin):
        return "ok", f"no worse than its margin {margin:g}: {told}"
    return "unclear", f"neither harm nor safety is proven against its margin {margin:g}: {told}"


def _of_lane(states: Mapping[str, Buckets], source: Source, share: float, alpha: float) -> Estimate:
    if share == 0:
        return Estimate.missing("in shadow nobody sees the candidate")
    for name in ("interleave", "holdout"):
        if name not in states or states[name].empty:
            return Estimate.missing(f"no users in lane {name} in this stage yet")
    return lane_effect(states["interleave"], states["holdout"], source, alpha=alpha)


def _of_model(states: Mapping[str, Buckets], source: Source, margin: float, alpha: float) -> Estimate:
    for name in ("candidate", "champion"):
        if name not in states or states[name].empty:
            return Estimate.missing(f"no requests to the {name} yet", unit=source.unit)
    return model_effect(states["candidate"], states["champion"], source, tuned_se=margin / 3, alpha=alpha)


def _level(recent: Buckets | None, source: Source) -> Estimate:
    """The candidate's own rate or latency of late."""
    n = 0 if recent is None else int(recent.rows.sum())
    if recent is None or n < MIN_REQUESTS:
        return Estimate.missing(f"{n} of {MIN_REQUESTS} requests in the last day", n=n, unit=source.unit)
    return recent.ratio(source.numerator, source.denominator, unit=source.unit)


def _boundary(se: float, tuned_se: float, alpha: float) -> float:
    """The one-sided boundary in standard errors: the sequence of `anytime.upper` run on information in place of n."""
    n, n_star = _INFORMATION / se**2 * tuned_se**2, _INFORMATION
    unit = Estimate(0.0, se=1.0, n=max(2, round(n)))
    high = anytime.upper(unit, alpha=alpha, n_star=n_star).high
    assert high is not None
    return high


def _residuals(state: Buckets, name: str) -> tuple[NDArray[np.float64], float]:
    """Per bucket ``(sum - mean rows) / all rows``, and the mean."""
    column: NDArray[np.float64] = state.sums[:, state.variables.index(name)]
    total = int(state.rows.sum())
    mean = float(column.sum() / total)
    return (column - mean * state.rows) / total, mean
