"""compare: what matured units say of candidate against champion. The unit is the user; nothing here looks twice.

Per unit u: X and Y, the credit of candidate and champion, N its competitive pairs, ``D = clip(X - Y, -cap, cap)``.
``net preference = mean sign(D)`` (ties 0), in [-1, 1]; ``paired delta = mean(D) / mean(N)``, credit per pair, with the
delta method. Around each the asymptotic confidence sequence (valid at every look), with the fixed interval beside it.

``win margin = (wins - losses) / (wins + losses)`` over the d units that decided, in [-1, 1]: how clear the choice is of
those who made one, however few they are. A sign lies in [-1, 1] and is therefore 1-sub-Gaussian around its conditional
mean (Hoeffding 1963), so that the normal mixture with s = 1,
``+- sqrt(2 (d r^2 + 1) / (d r)^2 ln(sqrt(d r^2 + 1) / alpha))``, is a confidence sequence at every d, not only in the
limit, for the running mean of what the decided units were expected to choose. It has the sign of the net preference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from incumbent.config import ExperimentConfig
from incumbent.errors import DataError
from incumbent.experiments.evidence import Preference
from incumbent.stats import anytime, fixed
from incumbent.stats.binomial import sign_test
from incumbent.stats.estimate import Estimate

Floats = NDArray[np.float64]

#: Signs are never taken for more certain than if this many units had been decided: with two decided units in a
#: thousand their number is itself a guess, and a confidence sequence around it would promise too much.
DECIDED_FLOOR = 10


class Row(Protocol):
    """A matured unit, as `incumbent.stores.store.Matured` is one."""

    unit: str
    lane: str
    stage: str
    matured_at: datetime
    x: float
    y: float
    n: float


@dataclass(frozen=True)
class Units:
    """Matured units in the order of their sequence, as arrays of one length."""

    lane: NDArray[np.str_]
    stage: NDArray[np.str_]  # at the first exposure
    day: NDArray[np.datetime64]  # UTC day of maturity
    x: Floats
    y: Floats
    n: Floats

    @classmethod
    def of(cls, rows: Iterable[Any]) -> Units:
        """The arrays of matured rows, in their order."""
        kept = list(rows)
        return cls(
            np.array([row.lane for row in kept], dtype=np.str_), np.array([row.stage for row in kept], dtype=np.str_),
            np.array([row.matured_at.date() for row in kept], dtype="datetime64[D]"),
            *(np.array([getattr(row, name) for row in kept], dtype=np.float64) for name in ("x", "y", "n")))

    def __post_init__(self) -> None:
        parts = (self.lane, self.stage, self.day, self.x, self.y, self.n)
        if len({len(part) for part in parts}) != 1:
            raise DataError("arrays of units differ in length", got=[len(part) for part in parts])
        if not all(np.isfinite(part).all() for part in (self.x, self.y, self.n)) or (self.n < 0).any():
            raise DataError("credit must be finite and pairs not negative", field="x, y, n")

    def where(self, mask: NDArray[np.bool_]) -> Units:
        """The units of a mask, in order."""
        return Units(self.lane[mask], self.stage[mask], self.day[mask], self.x[mask], self.y[mask], self.n[mask])

    @property
    def interleaved(self) -> Units:
        """The units of the interleave lane: only they compare."""
        return self.where(self.lane == "interleave")

    def first_in(self, *stages: str) -> Units:
        """The units whose first exposure was in one of these stages; all of them where none is named."""
        return self.where(np.isin(self.stage, stages)) if stages else self


class Point(Struct, frozen=True):
    """The comparison as it stood after one maturity day."""

    day: date
    units: int
    preference: Estimate
    delta: Estimate


class Look(Struct, frozen=True):
    """How one looks: what an experiment declared before it started."""

    cap: float = 20.0
    alpha: float = 0.05
    tuning_units: int = 2_000
    min_units: int = 100

    @classmethod
    def of(cls, config: ExperimentConfig) -> Look:
        """The look of a configuration."""
        return cls(config.cap, config.alpha, config.tuning_units, config.min_look_units)


def compare(units: Units, look: Look | None = None) -> Preference:
    """Candidate against champion on units of the interleave lane; other lanes are left out.

    Units without any pair were never asked: they are counted as `uncompared` and are in no mean. Nothing is estimated
    before `min_units` compared units. At the ends of the net preference's confidence sequence the e-value is 1/alpha.

    >>> units = Units(np.repeat("interleave", 5), np.repeat("ramp_50", 5), np.repeat(np.datetime64("2026-01-01"), 5),
    ...               np.array([1., 0, 2, 0, 1]), np.array([0., 1, 1, 0, 0]), np.array([2., 1, 3, 1, 2]))
    >>> found = compare(units, Look(min_units=2))
    >>> round(found.delta.value, 10), round(found.delta.se, 10), (found.wins, found.ties, found.losses)
    (0.2222222222, 0.1872314924, (3, 1, 1))
    """
    look = look or Look()
    lane = units.interleaved
    asked = _asked(lane)
    d, n = np.clip(lane.x - lane.y, -look.cap, look.cap)[asked], lane.n[asked]
    sign = np.sign(d)
    wins, losses, count = int((sign > 0).sum()), int((sign < 0).sum()), len(d)
    preference, fixed_preference = _of_signs(count, float(sign.sum()), float((sign**2).sum()), look)
    delta, fixed_delta = _of_sums(count, *_sums(d, n), look)
    known = preference.value is not None
    return Preference(
        units=count, wins=wins, ties=count - wins - losses, losses=losses, preference=preference,
        preference_fixed=fixed_preference, delta=delta, delta_fixed=fixed_delta,
        e_value=_e_value(preference, look) if known else None,
        p_value=min(1.0, 1 / _e_value(preference, look)) if known else None,
        p_sign=sign_test(wins, losses) if known else None,
        win_margin=_of_decided(count, wins, losses, look),
        delta_ab=(wins + (count - wins - losses) / 2) / count - 0.5 if known else None,
        pairs=float(n.sum()), uncompared=int((~asked).sum()),
        capped=int((np.abs(lane.x - lane.y) > look.cap).sum()))


def series(units: Units, look: Look | None = None) -> list[Point]:
    """The comparison after each maturity day, in order: what the confidence sequence showed at every look.

    The last point equals `compare` of all units. A day that is out of order counts with the last day before it.
    """
    look = look or Look()
    lane = units.interleaved
    lane = lane.where(_asked(lane))
    if not len(lane.day):
        return []
    days = np.maximum.accumulate(lane.day)
    d = np.clip(lane.x - lane.y, -look.cap, look.cap)
    sign = np.sign(d)
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
    table = np.cumsum(np.stack([sign, sign**2, d, lane.n, d * d, lane.n**2, d * lane.n]), axis=1)[:, last]
    points = []
    for at, (s, ss, sd, sn, dd, pp, dp) in zip(last.tolist(), table.T.tolist(), strict=True):
        points.append(Point(days[at].astype(object), at + 1, _of_signs(at + 1, s, ss, look)[0],
                            _of_sums(at + 1, sd, sn, dd, pp, dp, look)[0]))
    return points


def as_now(judged: Sequence[Any], restated: Iterable[Any]) -> Units:
    """The judged units with later events let in: to be shown beside the verdict, never to be judged."""
    later = {row.unit: row for row in restated}
    return Units.of(later.get(row.unit, row) for row in judged)


def _asked(units: Units) -> NDArray[np.bool_]:
    asked: NDArray[np.bool_] = (units.n > 0) | (units.x != 0) | (units.y != 0)
    return asked


def _sums(d: Floats, n: Floats) -> tuple[float, float, float, float, float]:
    return float(d.sum()), float(n.sum()), float((d * d).sum()), float((n * n).sum()), float((d * n).sum())


def _of_signs(n: int, total: float, squares: float, look: Look) -> tuple[Estimate, Estimate]:
    """Net preference from sums: with its confidence sequence, and with the fixed interval."""
    if n < max(look.min_units, 2):
        missing = _too_few(n, look)
        return missing, missing
    mean = total / n
    se = math.sqrt(max(squares - n * mean * mean, 0.0) / (n - 1) / n)
    plain = fixed.interval(mean, se, n, df=n - 1, alpha=look.alpha, method="mean sign(D)")
    floor = math.sqrt(DECIDED_FLOOR / n)
    return anytime.two_sided(plain, alpha=look.alpha, n_star=look.tuning_units, sd_floor=floor), plain


def _of_decided(n: int, wins: int, losses: int, look: Look) -> Estimate:
    """The win margin with its confidence sequence, s = 1."""
    decided, unit = wins + losses, "of decided users"
    if n < max(look.min_units, 2):
        return replace(_too_few(n, look), unit=unit)
    if decided < 2:
        return Estimate.missing(f"{decided} of {n} units decided for either", n=decided, unit=unit)
    margin = (wins - losses) / decided
    bound = anytime.two_sided(Estimate(margin, se=1 / math.sqrt(decided), n=decided, unit=unit,
                                       method="(wins - losses) / (wins + losses), s = 1"),
                              alpha=look.alpha, n_star=look.tuning_units)
    return replace(bound, se=math.sqrt((1 - margin * margin) / decided))


def _of_sums(
    n: int, d: float, pairs: float, dd: float, pp: float, dp: float, look: Look
) -> tuple[Estimate, Estimate]:
    """Paired delta from sums, its variance ``sum (D - r N)^2 / ((n - 1) n mean(N)^2)``, which is the delta method's."""
    if n < max(look.min_units, 2):
        missing = _too_few(n, look)
        return missing, missing
    if pairs == 0:
        missing = Estimate.missing("no competitive pairs", n=n)
        return missing, missing
    ratio = d / pairs
    rest = max(dd - 2 * ratio * dp + ratio * ratio * pp, 0.0)
    se = math.sqrt(rest / (n - 1) * n) / pairs
    plain = fixed.interval(ratio, se, n, df=n - 1, alpha=look.alpha, method="mean(D)/mean(N)", unit="credit/pair")
    return anytime.two_sided(plain, alpha=look.alpha, n_star=look.tuning_units), plain


def _too_few(n: int, look: Look) -> Estimate:
    return Estimate.missing(f"{n} of the {look.min_units} units before the first look", n=n)


def _e_value(preference: Estimate, look: Look) -> float:
    floor = math.sqrt(DECIDED_FLOOR / preference.n)
    return anytime.e_value(preference, alpha=look.alpha, n_star=look.tuning_units, sd_floor=floor)
