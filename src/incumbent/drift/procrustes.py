"""Orthogonal Procrustes: the rotation, scale and translation from one version of a space to another, without rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from incumbent.errors import DataError
from incumbent.stats.pairs import Array, Pairs


@dataclass(frozen=True, eq=False)
class Alignment:
    """The fit ``z ~ R x`` of new vectors z to old ones x, and how much of the energy it leaves.

    `rotation` R (d, d), orthogonal (a reflection is one too); `n` anchors. The residuals, 0 for a perfect fit and at
    most 1 (`still`: 2):

    - `still`: ``sum |z - x|^2 / (a + b)``, nothing fitted: about 1 for vectors that have nothing to do with each other;
    - `residual`: ``sum |z - R x|^2 / (a + b)``;
    - `translated`: the same about the two means, so that a common mean neither hides nor makes a difference;
    - `scaled`: ``sum |z - s R x|^2 / b`` at the best s, equal from either side;
    - `similarity`: scaled and about the means (the disparity of ``scipy.spatial.procrustes``).

    a and b are ``sum |x|^2`` and ``sum |z|^2``, about the means where the name says so. `scale` is s, and
    `translation` (d,) the t of ``z ~ R x + t``, with the R of the centred pairs.
    """

    n: int
    rotation: Array
    still: float
    residual: float
    translated: float
    scaled: float
    similarity: float
    scale: float
    translation: Array


def align(pairs: Pairs) -> Alignment:
    """The alignment of two versions from their additive cross-moments.

    ``A = sum x z' = U S V'``, ``R = V U'``, and as ``tr(R A) = ||A||_*`` (the sum of S) is the largest there is,
    ``residual = 1 - 2 ||A||_* / (a + b)``, ``scaled = 1 - ||A||_*^2 / (a b)``, ``s = ||A||_* / a``. A rotation fits
    something even to unrelated vectors: n anchors in d evenly used dimensions leave about ``1 - 0.85 sqrt(d / n)`` and
    not 1. `DataError` without anchors, or where all vectors of a side are zero or the same.
    Source: P. H. Schonemann, Psychometrika 31 (1966); J. C. Gower, Psychometrika 40 (1975).

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    >>> found = align(Pairs.zero(dimension=3).update(x, 2 * x @ turn.T + 5))
    >>> found.rotation.shape, round(found.translated, 3), round(found.similarity, 3), found.translation.shape
    ((3, 3), 0.2, 0.0, (3,))
    """
    n = int(pairs.n)
    cross, a, b = pairs.moments(centred=False)
    inner, c, d = pairs.moments(centred=True)
    if n == 0 or min(c, d) <= 1e-12 * max(a, b):
        raise DataError("versions cannot be aligned", got=f"{n} anchors" if n == 0 else "one vector for all anchors",
                        expected="vectors that vary on both sides")
    rotation, nuclear = _turn(cross)
    turned, within = _turn(inner)
    return Alignment(
        n=n, rotation=rotation, still=_share(a + b - 2 * float(cross.trace()), a + b),
        residual=_share(a + b - 2 * nuclear, a + b), translated=_share(c + d - 2 * within, c + d),
        scaled=max(1 - nuclear / a * (nuclear / b), 0.0), similarity=max(1 - within / c * (within / d), 0.0),
        scale=nuclear / a, translation=(pairs.new - turned @ pairs.old) / n)


def _turn(cross: Array) -> tuple[Array, float]:
    """The rotation that makes ``tr(R A)`` largest, and that largest value."""
    left, sizes, right = np.linalg.svd(cross)
    turn: Array = right.T @ left.T
    return turn, float(sizes.sum())


def _share(part: float, whole: float) -> float:
    return max(part / whole, 0.0)
