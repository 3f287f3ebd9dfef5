"""Reliability: predicted probabilities against what happened, as sums per bin. The mathematics of calibration, once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from incumbent.errors import DataError, StateError
from incumbent.stats import fixed
from incumbent.stats.array_state import ArrayState
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate

_CLIP = 1e-12  # of a probability in the log loss


class Reliability(ArrayState):
    """Per group and bin of the score p: rows with a label, sum p, sum y; and all rows scored, labelled or not.

    The inner `edges` cut [0, 1] into K bins, ``[e_k, e_k+1)``; `groups` (positions, segments) stand side by side.
    Arrays `rows`, `p`, `y` (G, K) are of labelled rows, `scored`, `scored_p` (G, K) of all rows with a score; `loss`
    (2, 2) holds sum and sum of squares of the Brier loss ``(p - y)^2`` and of the log loss, p drawn in to 1e-12.
    `absent` counts rows without a score, and rows without a label. NaN, None and infinite values are absent; a score
    outside [0, 1] or a label that is neither 0 nor 1 is a `DataError`.

    >>> r = Reliability.zero(edges=[0.5]).update([0.2, 0.2, 0.7, 0.9], [0, 1, 1, None])
    >>> r.rows.tolist(), r.y.tolist(), r.scored.tolist(), r.absent.tolist()
    ([[2, 1]], [[1, 1]], [[2, 2]], [0, 1])
    >>> round(r.ece().value, 3), round(r.observed_expected().value, 3)
    (0.3, 1.818)
    """

    name = "reliability"
    version = 1
    tags = frozenset({"subtract"})
    arrays: ClassVar[dict[str, str]] = {"rows": "<i8", "p": "<f8", "y": "<i8", "scored": "<i8", "scored_p": "<f8",
                                        "loss": "<f8", "absent": "<i8"}
    example_configs = ({"edges": [0.25, 0.5], "groups": 3}, {"edges": [0.5], "groups": 3})
    rows: NDArray[np.int64]
    p: NDArray[np.float64]
    y: NDArray[np.int64]
    scored: NDArray[np.int64]
    scored_p: NDArray[np.float64]
    loss: NDArray[np.float64]
    absent: NDArray[np.int64]

    @classmethod
    def fit(cls, scores: ArrayLike, *, bins: int = 50, groups: int = 1) -> Self:
        """The empty state in bins of equal mass on a baseline sample of scores (100 finite ones or more)."""
        flat = np.asarray(scores, dtype=np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        if len(flat) < 100 or bins < 2:
            raise DataError("too few scores to fit bins", got=(len(flat), bins), expected="100 or more, 2 bins or more")
        edges = np.unique(np.quantile(flat, np.arange(1, bins) / bins, method="inverted_cdf"))
        edges = edges[(edges > 0) & (edges < 1)]
        return cls.zero(edges=edges.tolist() or [0.5], groups=groups)

    @classmethod
    def zero(cls, *, edges: Sequence[float] = tuple(k / 20 for k in range(1, 20)), groups: int = 1,
             **unknown: Any) -> Self:
        """Nothing seen yet in these bins (inner edges, rising within (0, 1)) and this many groups."""
        points = np.asarray(edges, dtype=np.float64)
        if unknown or isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise DataError("groups must be a whole number of at least 1", got=sorted(unknown) or groups)
        rising = points.ndim == 1 and len(points) > 0 and bool((np.diff(points) > 0).all())
        if not rising or not 0 < points[0] <= points[-1] < 1:
            raise DataError("edges must rise within (0, 1)", got=edges, field="edges")
        shape = np.zeros((groups, len(points) + 1))
        return cls({"edges": points.tolist(), "groups": groups}, rows=shape, p=shape, y=shape, scored=shape,
                   scored_p=shape, loss=np.zeros((2, 2)), absent=np.zeros(2))

    @property
    def empty(self) -> bool:
        """True where no row was seen, not even one without a score."""
        return not self.scored.any() and not self.absent.any()

    def update(self, scores: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Add rows: scores (m,) in [0, 1], labels (m,) 0 or 1 or absent, groups (m,) in [0, G), default 0."""
        p, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        where = np.zeros(p.shape, np.int64) if groups is None else np.asarray(groups)
        if p.ndim != 1 or p.shape != y.shape or p.shape != where.shape:
            raise DataError("one label and one group per score", got=(p.shape, y.shape, where.shape))
        count = self._config["groups"]
        if len(where) and (where.dtype.kind not in "iu" or where.min() < 0 or where.max() >= count):
            raise DataError("group out of range", got=(where.min(), where.max()), expected=f"integers in [0, {count})")
        here, known = np.isfinite(p), np.isfinite(y)
        if ((p[here] < 0) | (p[here] > 1)).any() or not np.isin(y[known], (0, 1)).all():
            raise DataError("scores must be in [0, 1], labels 0 or 1", got=(float(np.min(p[here], initial=0)),
                            float(np.max(p[here], initial=0)), np.unique(y[known])[:5].tolist()))
        cell = where.astype(np.int64) * self.rows.shape[1] + np.searchsorted(self._config["edges"], p, side="right")
        both = here & known
        losses = _losses(p[both], y[both])
        return self._with(
            rows=self.rows + self._sum(cell[both]),
            p=self.p + self._sum(cell[both], p[both]),
            y=self.y + self._sum(cell[both], y[both]).astype(np.int64), scored=self.scored + self._sum(cell[here]),
            scored_p=self.scored_p + self._sum(cell[here], p[here]),
            loss=self.loss + np.stack([losses.sum(axis=1), (losses**2).sum(axis=1)], axis=1),
            absent=self.absent + np.array([(~here).sum(), (here & ~known).sum()]))

    def _sum(self, cell: NDArray[np.int64], weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
        return np.bincount(cell, weights=weights, minlength=self.rows.size).reshape(self.rows.shape)

    def _combine(self, other: Self, sign: int) -> Self:
        made = super()._combine(other, sign)
        least = min(int(getattr(made, key).min()) for key in ("rows", "y", "scored", "absent"))
        if least < 0 or (made.y > made.rows).any():
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        return made._with(p=np.where(made.rows == 0, 0.0, made.p),
                          scored_p=np.where(made.scored == 0, 0.0, made.scored_p),
                          loss=made.loss if made.rows.any() else np.zeros((2, 2)))

    @property
    def labelled(self) -> int:
        """Rows with a score and a label."""
        return int(self.rows.sum())

    @property
    def n(self) -> int:
        """Rows with a score, labelled or not."""
        return int(self.scored.sum())

    def rate(self, *, alpha: float = 0.05) -> Estimate:
        """The share of labels that are 1, with the interval of independent rows."""
        return proportion(int(self.y.sum()), self.labelled, alpha=alpha)

    def ece(self) -> Estimate:
        """The expected calibration error ``sum n_k / n |mean y - mean p|`` over bins; missing without labels.

        Noise alone makes it positive, the more so the more bins: see `rms_error`. Source: Naeini, Cooper, Hauskrecht,
        AAAI 2015.
        """
        if not self.labelled:
            return Estimate.missing(self._why(), method="ECE")
        return Estimate(float(np.abs(self.y - self.p).sum()) / self.labelled, n=self.labelled, method="ECE")

    def rms_error(self) -> Estimate:
        """The root mean square calibration error less its noise, ``sqrt(sum n_k / n ((y - p)^2 - y (1 - y) / (n_k - 1)))``.

        y and p are the means of a bin; the sum has the mean 0 where calibrated, and its root is 0 where it is below.
        Bins of one row say nothing and are left out; missing where no bin has two. Source: Kumar, Liang, Ma, NeurIPS
        2019.
        """  # noqa: E501
        used = self.rows > 1
        n, p, y = (part[used].astype(np.float64) for part in (self.rows, self.p, self.y))
        if not len(n):
            return Estimate.missing("no bin has two labels" if self.labelled else self._why(), method="RMS, debiased")
        rate = y / n
        value = float((n * ((rate - p / n) ** 2 - rate * (1 - rate) / (n - 1))).sum() / n.sum())
        return Estimate(math.sqrt(max(value, 0.0)), n=int(n.sum()), method="RMS, debiased")

    def observed_expected(self, *, alpha: float = 0.05) -> Estimate:
        """``sum y / sum p`` with the exact Poisson interval of the sum of labels; 1 where calibrated in the large.

        Ends ``chi2(alpha/2; 2 O) / 2 E`` and ``chi2(1 - alpha/2; 2 O + 2) / 2 E``, somewhat wide for common outcomes.
        Missing without labels or where the scores sum to 0. Source: F. Garwood, Biometrika 28 (1936).
        """
        fixed.check_alpha(alpha)
        observed, expected, method = int(self.y.sum()), float(self.p.sum()), "observed over expected, Poisson"
        if not self.labelled or expected <= 0:
            return Estimate.missing("the scores sum to 0" if self.labelled else self._why(), n=self.labelled,
                                    method=method)
        low = float(stats.chi2.ppf(alpha / 2, 2 * observed)) / 2 if observed else 0.0
        high = float(stats.chi2.ppf(1 - alpha / 2, 2 * observed + 2)) / 2
        return Estimate(observed / expected, low / expected, high / expected, math.sqrt(observed) / expected,
                        self.labelled, method)

    def slope(self, *, alpha: float = 0.05) -> Estimate:
        """The calibration slope b of ``logit P(y) = a + b logit p``, 1 where calibrated, below 1 where overconfident.

        Maximum likelihood over bins at their mean score, so exact where a bin's scores are equal; Wald interval.
        Missing without labels of both kinds in two bins or more. Source: D. R. Cox, Biometrika 45 (1958).
        """
        return self._logistic(True, alpha)

    def intercept(self, *, alpha: float = 0.05) -> Estimate:
        """Calibration in the large: a of ``logit P(y) = a + logit p``, 0 where calibrated, above where p is too low."""
        return self._logistic(False, alpha)

    def brier(self, *, alpha: float = 0.05) -> Estimate:
        """The mean of ``(p - y)^2`` over the labelled rows, in [0, 1]."""
        return self._loss(0, alpha, "Brier")

    def log_loss(self, *, alpha: float = 0.05) -> Estimate:
        """The mean of ``-ln`` of the probability given to what happened, in nats."""
        return self._loss(1, alpha, "log loss")

    def estimates(self) -> dict[str, Estimate]:
        """Rate, calibration error, observed over expected, and both losses."""
        return {"rate": self.rate(), "ece": self.ece(), "observed_expected": self.observed_expected(),
                "brier": self.brier(), "log_loss": self.log_loss()}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Calibrated scores in three groups."""
        p = rng.random(rows)
        return p, (rng.random(rows) < p).astype(float), rng.integers(0, 3, rows)

    def _loss(self, row: int, alpha: float, method: str) -> Estimate:
        n = self.labelled
        if not n:
            return Estimate.missing(self._why(), method=method)
        total, squares = map(float, self.loss[row])
        variance = max(squares - total**2 / n, 0.0) / (n - 1) if n > 1 else 0.0
        return fixed.interval(total / n, math.sqrt(variance / n) if n > 1 else None, n, df=n - 1, alpha=alpha,
                              method=method)

    def _logistic(self, free: bool, alpha: float) -> Estimate:
        used, method = self.rows > 0, "logistic recalibration"
        n, y = self.rows[used].astype(np.float64), self.y[used].astype(np.float64)
        if not 0 < y.sum() < n.sum():
            why = "labels of one kind only" if len(n) else self._why()
            return Estimate.missing(why, n=self.labelled, method=method)
        x = special.logit(np.clip(self.p[used] / n, _CLIP, 1 - _CLIP))
        fitted = logistic(x, n, y, free=free)
        if fitted is None:
            return Estimate.missing("the fit has no finite maximum", n=self.labelled, method=method)
        value, se = fitted
        half = float(stats.norm.ppf(1 - alpha / 2)) * se
        return Estimate(value, value - half, value + half, se, self.labelled, method)

    def _why(self) -> str:
        return "no labels yet" if self.scored.any() else "no scores"


def logistic(
    x: NDArray[np.float64], n: NDArray[np.float64], y: NDArray[np.float64], *, free: bool
) -> tuple[float, float] | None:
    """b of ``logit P = a + b x``, y of n at x, with its standard error, by Newton; unless `free`, a of ``a + x``."""
    design = np.stack([np.ones_like(x), x], axis=1)[:, :2 if free else 1]
    offset, at = (np.zeros_like(x), np.array([0.0, 1.0])) if free else (x, np.zeros(1))
    for _ in range(50):
        p = special.expit(design @ at + offset)
        information = design.T @ (design * (n * p * (1 - p))[:, None])
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e13:
            return None
        step = np.linalg.solve(information, design.T @ (y - n * p))
        at = at + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-11:
            return float(at[-1]), math.sqrt(float(np.linalg.inv(information)[-1, -1]))
    return None


def _losses(p: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    given = np.where(y == 1, p, 1 - p)
    return np.stack([(p - y) ** 2, -np.log(np.clip(given, _CLIP, 1 - _CLIP))])
