"""PCA reconstruction error from the covariance alone: the energy that the baseline's leading directions leave out."""

from __future__ import annotations

import math

import numpy as np

from incumbent.drift.comparable import frame_of
from incumbent.drift.gaussian import Array
from incumbent.stats.vectors import Vectors


def reconstruction(current: Vectors, reference: Vectors) -> float:
    """``ln(E_current / E_reference)``, E the mean squared error of rows rebuilt from the frame's principal projections.

    E is taken about the reference's mean, ``E = (sum |z|^2 - sum |P z|^2) / n`` with z = x - mean and P the first
    `principal` rows of the basis; from the sums of outer products, no row is touched. A new kind of vectors raises it
    even where they are few; 0 where the projections span the space. Source: J. E. Jackson, G. S. Mudholkar,
    Technometrics 21 (1979).

    >>> rows = np.random.default_rng(0).normal(size=(4000, 12)) * np.array([5.0] * 8 + [1.0] * 4)
    >>> zero = Vectors.fit(rows, seed=1, centroids=4, principal=8)
    >>> round(reconstruction(zero.update(rows * ([1] * 8 + [2] * 4)), zero.update(rows)), 2)  # ln 4
    1.39
    """
    frame = frame_of(current, reference, least=2, part="principal")
    if frame.principal >= frame.dimension:
        return 0.0
    about = reference.sums / int(reference.n)
    energies = [_left_out(state, about) for state in (current, reference)]
    floor = 1e-12 * float(frame.variances[0])
    return math.log(max(energies[0], floor) / max(energies[1], floor))


def _left_out(state: Vectors, about: Array) -> float:
    """Mean squared distance from the plane of the first principal directions through `about`."""
    frame, n = state.frame, int(state.n)
    inside, tail = state.principal
    moved = state.sums / n - about
    along = frame.basis[:frame.principal].astype(np.float64) @ moved
    spread = float(inside.diagonal()[frame.principal:].sum())
    return (spread + tail * (frame.dimension - len(frame.basis))) * (n - 1) / n + float(moved @ moved - along @ along)
