"""Quality before the labels: what the scores of a window say of it, if they still mean what they meant. An estimate.

It answers "did the inputs move to where the model is worse", and cannot see concept drift: where scores stop meaning
what they meant, it is wrong, and `concept.calibration_drift` says so once labels come. Sources: NannyML's CBPE; J.
Bialek et al., arXiv 2401.08348; S. Garg et al., ICLR 2022, arXiv 2201.04234, for its limits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from incumbent.errors import DataError, StateError
from incumbent.stats.estimate import Estimate
from incumbent.stats.reliability import Reliability

Array = NDArray[np.float64]
METHOD = "estimated before labels, from calibrated scores"


def quality_before_labels(
    current: Reliability, reference: Reliability, *, threshold: float | None = None, alpha: float = 0.05
) -> dict[str, Estimate]:
    """Rate, Brier loss, AUC and (with a threshold) accuracy that the current scores let one expect, before their labels.

    Every bin k has the share of labels ``c_k`` that the reference saw in it, and w_k of the current scores, labelled or
    not: rate ``sum w_k c_k``; Brier ``sum w_k (c_k (1 - c_k) + (s_k - c_k)^2)``, s_k the bin's mean score; AUC, the chance
    that a 1 stands above a 0 with ties half, of expected positives ``w_k c_k`` and negatives; accuracy of "1 from the
    threshold on", a bin edge, ``sum w_k (c_k above, 1 - c_k below)``. A bin that the reference has no labels in borrows the
    mean score of its own rows. Intervals hold the noise of the reference's shares and of the window's own labels to come,
    for rows that are independent; the AUC has none. Everything is of all groups together.

    Missing without scores or without reference labels; `StateError` for different bins, `DataError` for a threshold that
    is no edge.

    >>> zero = Reliability.zero(edges=[0.5])
    >>> past = zero.update([0.2] * 10 + [0.8] * 10, [1] + [0] * 9 + [1] * 9 + [0])
    >>> found = quality_before_labels(zero.update([0.2] * 30 + [0.8] * 10, [None] * 40), past, threshold=0.5)
    >>> round(found["rate"].value, 2), round(found["accuracy"].value, 2), found["rate"].method
    (0.3, 0.9, 'estimated before labels, from calibrated scores')
    """  # noqa: E501
    if current.config_hash != reference.config_hash:
        raise StateError("states of different bins do not compare", got=current.config_hash,
                         expected=reference.config_hash, hint="both must come from one baseline's Reliability.fit")
    above = _above(current, threshold)
    names = ["rate", "brier", "auc", *(["accuracy"] if threshold is not None else [])]
    rows = current.n
    if not rows or not reference.labelled:
        reason = "no scores" if not rows else "the reference has no labels"
        return {name: Estimate.missing(reason, n=rows, method=METHOD) for name in names}
    w, score = current.scored.sum(axis=0).astype(np.float64), current.scored_p.sum(axis=0)
    n, y = reference.rows.sum(axis=0), reference.y.sum(axis=0)
    used = w > 0
    w, n, y, above, s = w[used] / rows, n[used], y[used], above[used], score[used] / w[used]
    c = np.where(n > 0, y / np.maximum(n, 1), s)
    smooth = (c * n + 1) / (n + 2)  # a bin all of one kind is not without noise
    noise = smooth * (1 - smooth)
    out = {"rate": _linear(w, c, np.ones_like(c), noise, n, rows, alpha),
           "brier": _linear(w, c * (1 - c) + (s - c) ** 2, 1 - 2 * s, noise, n, rows, alpha), "auc": _auc(w, c, rows)}
    if threshold is not None:
        out["accuracy"] = _linear(w, np.where(above, c, 1 - c), np.where(above, 1.0, -1.0), noise, n, rows, alpha)
    return out


def _above(state: Reliability, threshold: float | None) -> NDArray[np.bool_]:
    edges = np.array(state.config["edges"])
    if threshold is None:
        return np.zeros(len(edges) + 1, dtype=bool)
    if threshold not in edges:
        raise DataError("a threshold must be an edge of the bins", got=threshold, field="threshold",
                        hint="give it to Reliability.zero(edges=...)")
    return np.concatenate([[False], edges >= threshold])


def _linear(w: Array, value: Array, change: Array, noise: Array, n: NDArray[np.int64], rows: int,
            alpha: float) -> Estimate:
    """``sum w value``, with the noise of the reference and of the labels to come; a label changes value by `change`."""
    total = float(w @ value)
    variance = float((w**2 * change**2 * noise / np.maximum(n, 1)).sum() + (w * change**2 * noise).sum() / rows)
    half = float(stats.norm.ppf(1 - alpha / 2)) * variance**0.5
    return Estimate(total, max(total - half, 0.0), min(total + half, 1.0), variance**0.5, rows, METHOD)


def _auc(w: Array, c: Array, rows: int) -> Estimate:
    ones, zeros = w * c, w * (1 - c)
    if ones.sum() <= 0 or zeros.sum() <= 0:
        return Estimate.missing("labels of one kind only are expected", n=rows, method=METHOD)
    below = np.cumsum(zeros) - zeros / 2
    return Estimate(float((ones * below).sum() / (ones.sum() * zeros.sum())), n=rows, method=METHOD)
