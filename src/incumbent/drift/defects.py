"""Drift of defects: shares of NaN, infinite, zero and constant vectors, of lost features, of vectors that repeat."""

from __future__ import annotations

import math

from incumbent.errors import DataError
from incumbent.stats.vectors import Vectors


def defect_scores(current: Vectors, reference: Vectors) -> dict[str, float]:
    """By how many standard errors the share of each defect rose, ``(p - q) / sqrt(r (1 - r) (1/n + 1/N))``.

    p and q are the shares in current and reference of all rows, sound or not, r that of both together; 0 where there is
    none on either side. A state that saw nothing is a `DataError`; one with defects alone is not.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(1000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> rows[:20] = 0
    >>> {kind: round(z, 2) for kind, z in defect_scores(zero.update(rows), zero.update(rows[20:])).items()}
    {'nan': 0.0, 'infinite': 0.0, 'zero': 4.45, 'constant': 0.0}
    """
    n, m = int(current.n + current.defects.sum()), int(reference.n + reference.defects.sum())
    if not n or not m:
        raise DataError("a state without vectors has no shares", got=(n, m), expected="at least one on each side")
    theirs = reference.defect_counts()
    scores = {}
    for kind, count in current.defect_counts().items():
        both = (count + theirs[kind]) / (n + m)
        spread = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
        scores[kind] = (count / n - theirs[kind] / m) / spread if spread > 0 else 0.0
    return scores


def defects(current: Vectors, reference: Vectors) -> float:
    """The largest of `defect_scores`: a fall in defects is no alarm."""
    return max(defect_scores(current, reference).values())


def zeroed(current: Vectors, reference: Vectors) -> float:
    """By how many standard errors the share of coordinates that are exactly 0 rose, counted in sound rows.

    A feature that a pipeline lost reads 0 in some of the rows, far inside every distribution. The standard error is
    that of d n independent coordinates, which those of one row are not: hold it against a null of windows.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(1000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> usual, rows[:20, 1] = zero.update(rows), 0
    >>> round(zeroed(zero.update(rows), usual), 2)  # 20 of 4,000
    4.48
    """
    sides = [(int(state.zeros), int(state.n) * state.frame.dimension) for state in (current, reference)]
    (a, n), (b, m) = sides
    if not n or not m:
        raise DataError("a state without vectors has no shares", got=(n, m), expected="at least one on each side")
    both = (a + b) / (n + m)
    spread = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
    return (a / n - b / m) / spread if spread > 0 else 0.0


def repeats(current: Vectors, reference: Vectors) -> float:
    """By how much the chance that two rows hold one vector rose (`Vectors.repeat_share`); 0 where there are no pairs.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(1000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> usual, rows[:500] = zero.update(rows), rows[0]
    >>> round(repeats(zero.update(rows), usual), 2)  # half of them are one vector: (1/2)^2
    0.25
    """
    return (current.repeat_share().value or 0.0) - (reference.repeat_share().value or 0.0)
