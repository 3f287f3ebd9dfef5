"""A state seen as a Gaussian: full along the leading directions, one variance outside, shrunk where rows are few.

The covariance is ``U' S U + tau (I - U' U)``: k leading principal directions of the baseline with whatever covariance S
the state has along them, and the mean variance tau in the d - k others (probabilistic PCA). Both are shrunk towards the
baseline as if `prior` more rows of it had been seen (the mean of an inverse-Wishart posterior, up to its constant), so
that n < d is no special case: ``S = ((n - 1) S_n + prior diag(variances)) / (n - 1 + prior)``. The default prior is k
rows; its effect is gone when n is many times that. Source: Tipping, Bishop, J. R. Stat. Soc. B 61 (1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from incumbent.errors import DataError
from incumbent.stats.vectors import Vectors

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Covariance `inside` (k, k) along the basis, variance `tail` in each of the `rest` directions outside."""

    inside: Array
    tail: float
    rest: int

    @cached_property
    def factor(self) -> Array:
        """The lower Cholesky factor of `inside`."""
        factor: Array = linalg.cholesky(self.inside, lower=True, check_finite=False)
        return factor

    def log_det(self) -> float:
        """The logarithm of the determinant of the whole covariance."""
        inside = 2 * float(np.log(self.factor.diagonal()).sum())
        return inside + self.rest * float(np.log(self.tail)) if self.rest else inside

    def solve(self, shift: Shift) -> Array:
        """``covariance^-1 shift`` along the basis."""
        solved: Array = linalg.cho_solve((self.factor, True), shift.inside, check_finite=False)
        return solved

    def distance2(self, shift: Shift) -> float:
        """The squared Mahalanobis length of a shift."""
        return float(shift.inside @ self.solve(shift)) + (shift.tail2 / self.tail if self.rest else 0.0)


@dataclass(frozen=True, eq=False)
class Shift:
    """Difference of two means: `whole` (d,), `inside` (k,) along the basis, `tail2` the squared length outside."""

    whole: Array
    inside: Array
    tail2: float


def gaussian(state: Vectors, *, prior: float | None = None) -> Gaussian:
    """The shrunk covariance of a state; `prior` in rows, default the number k of leading directions.

    `DataError` where a variance is 0 and no prior mends it: then no inverse exists.
    """
    state.keeps("covariance")
    frame, n = state.frame, int(state.n)
    rest = frame.dimension - len(frame.basis)
    rows = float(len(frame.basis)) if prior is None else float(prior)
    weight = rows / (n - 1 + rows) if n > 1 else 1.0
    inside, tail = state.principal if n > 1 else (np.zeros((len(frame.basis),) * 2), 0.0)
    inside = (1 - weight) * inside
    inside[np.diag_indices(len(inside))] += weight * frame.variances
    made = Gaussian(inside, max((1 - weight) * tail + weight * frame.tail_variance, 1e-12 * frame.variances[0]), rest)
    try:
        made.factor  # noqa: B018
    except linalg.LinAlgError:
        raise DataError("the covariance is singular", got=f"{n} vectors, {len(inside)} directions",
                        expected="more vectors than directions, or a prior", hint="prior=None shrinks") from None
    return made


def pooled(current: Vectors, reference: Vectors, *, prior: float | None = None) -> Gaussian:
    """The covariance within both states, ``((n - 1) A + (N - 1) B) / (n + N - 2)``, each shrunk."""
    a, b = gaussian(current, prior=prior), gaussian(reference, prior=prior)
    n, m = max(int(current.n) - 1, 0), max(int(reference.n) - 1, 0)
    share = n / (n + m) if n + m else 0.5
    return Gaussian(share * a.inside + (1 - share) * b.inside, share * a.tail + (1 - share) * b.tail, a.rest)


def shift(current: Vectors, reference: Vectors) -> Shift:
    """The current mean minus the reference's."""
    whole = current.sums / int(current.n) - reference.sums / int(reference.n)
    inside = current.frame.basis.astype(np.float64) @ whole
    return Shift(whole, inside, max(float(whole @ whole - inside @ inside), 0.0))
