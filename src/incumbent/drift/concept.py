"""Concept drift: whether a score still means what it meant, from `Reliability` states."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from incumbent.errors import StateError
from incumbent.stats import fixed
from incumbent.stats.estimate import Estimate
from incumbent.stats.reliability import Reliability


def calibration_drift(current: Reliability, reference: Reliability, *, alpha: float = 0.05) -> dict[str, Estimate]:
    """How calibration moved from reference to current, each with the interval of independent rows.

    ``observed_expected``: the ratio of the two ratios, 1 without drift; its log has the variance ``(1 - r) / O`` on
    either side, r the rate of labels. ``slope`` and ``intercept``: differences, 0 without drift. ``rms_error``: the
    difference of the debiased errors, without an interval. A part that either side cannot say is missing with the
    side's reason. `StateError` for different bins.

    >>> zero = Reliability.zero(edges=[0.5])
    >>> before = zero.update([0.2] * 100 + [0.8] * 100, [1] * 20 + [0] * 80 + [1] * 80 + [0] * 20)
    >>> after = zero.update([0.2] * 100 + [0.8] * 100, [1] * 10 + [0] * 90 + [1] * 60 + [0] * 40)
    >>> found = calibration_drift(after, before)
    >>> round(found["observed_expected"].value, 2), found["intercept"].high < 0
    (0.7, True)
    """
    _same(current, reference)
    fixed.check_alpha(alpha)
    z = float(stats.norm.ppf(1 - alpha / 2))
    out = {"observed_expected": _ratio(current, reference, z)}
    for name in ("slope", "intercept"):
        out[name] = _difference(getattr(current, name)(), getattr(reference, name)(), z)
    out["rms_error"] = _difference(current.rms_error(), reference.rms_error(), z)
    return out


def click_odds(current: Reliability, reference: Reliability, *, alpha: float = 0.05) -> Estimate:
    """The odds of a click now over those of the reference, at equal score and position (Mantel-Haenszel).

    Strata are the groups (positions) and score bins that both sides have: ``sum a d / N over sum b c / N``, 1 without
    drift, however the mix of scores and positions moved. Interval by the variance of Robins, Breslow and Greenland.
    Missing where no stratum has labels of both kinds. Sources: N. Mantel, W. Haenszel, J. Natl. Cancer Inst. 22 (1959);
    Robins, Breslow, Greenland, Biometrics 42 (1986).

    >>> zero = Reliability.zero(edges=[0.5], groups=2)
    >>> before = zero.update([0.3] * 40, [1, 0, 0, 0] * 10, [0] * 40)
    >>> click_odds(zero.update([0.3] * 40, [1, 0] * 20, [0] * 40), before).value
    3.0
    """
    _same(current, reference)
    fixed.check_alpha(alpha)
    used = (current.rows > 0) & (reference.rows > 0)
    n, m, a, c = (part[used].astype(np.float64) for part in (current.rows, reference.rows, current.y, reference.y))
    b, d, rows, method = n - a, m - c, int(current.rows[used].sum()), "Mantel-Haenszel odds ratio"
    r, s = a * d / (n + m), b * c / (n + m)
    if r.sum() == 0 or s.sum() == 0:
        return Estimate.missing("no stratum has clicks and none of them on both sides", n=rows, method=method)
    p, q = (a + d) / (n + m), (b + c) / (n + m)
    top, low = float(r.sum()), float(s.sum())
    variance = float((p * r).sum() / (2 * top**2) + (p * s + q * r).sum() / (2 * top * low)
                     + (q * s).sum() / (2 * low**2))
    value, se = top / low, math.sqrt(variance)
    half = float(stats.norm.ppf(1 - alpha / 2)) * se
    return Estimate(value, value * math.exp(-half), value * math.exp(half), value * se, rows, method)


def _same(current: Reliability, reference: Reliability) -> None:
    if current.config_hash != reference.config_hash:
        raise StateError("states of different bins do not compare", got=current.config_hash,
                         expected=reference.config_hash, hint="both must come from one baseline's Reliability.fit")


def _ratio(current: Reliability, reference: Reliability, z: float) -> Estimate:
    sides, method = [current.observed_expected(), reference.observed_expected()], "ratio of observed over expected"
    for name, side in zip(("current", "reference"), sides, strict=True):
        if not side.value:
            return Estimate.missing(f"{name}: {side.reason or 'no label is 1'}", n=side.n, method=method)
    value = float(sides[0].value or 0) / float(sides[1].value or 1)
    variance = sum((1 - float(state.rate().value or 0.0)) / int(state.y.sum()) for state in (current, reference))
    half = z * math.sqrt(variance)
    return Estimate(value, value * math.exp(-half), value * math.exp(half), value * math.sqrt(variance), sides[0].n,
                    method)


def _difference(current: Estimate, reference: Estimate, z: float) -> Estimate:
    for name, side in (("current", current), ("reference", reference)):
        if side.value is None:
            return Estimate.missing(f"{name}: {side.reason}", n=side.n, method=side.method)
    value = float(current.value or 0.0) - float(reference.value or 0.0)
    if current.se is None or reference.se is None:
        return Estimate(value, n=current.n, method=current.method)
    se = math.hypot(current.se, reference.se)
    return Estimate(value, value - z * se, value + z * se, se, current.n, current.method)
