"""Maximum mean discrepancy with Gaussian kernels, from sums of random Fourier features."""

from __future__ import annotations

import numpy as np

from incumbent.drift.comparable import frame_of
from incumbent.drift.gaussian import Array
from incumbent.stats.vectors import Vectors


def mmd2_by_bandwidth(current: Vectors, reference: Vectors) -> Array:
    """The unbiased squared discrepancy for each bandwidth of the frame, widest first, shape (octaves,).

    With mean features a and b (cos and sin of F random phases, so that a row's own kernel is 1):
    ``(n |a|^2 / F - 1) / (n - 1) + (N |b|^2 / F - 1) / (N - 1) - 2 a . b / F``, exact for the kernel that the F
    frequencies make, which is ``exp(-|x - y|^2 / (2 bandwidth^2))`` within about ``1 / sqrt F``. Without drift its mean
    is 0 whatever n and N are, so it may be negative. Sources: A. Rahimi, B. Recht, NIPS 2007; A. Gretton et al., JMLR
    13 (2012).
    """
    frame_of(current, reference, least=2)
    n, m = int(current.n), int(reference.n)
    a, b = current.features(), reference.features()
    f = a.shape[2]
    own = (n * np.einsum("osf,osf->o", a, a) / f - 1) / (n - 1) + (m * np.einsum("osf,osf->o", b, b) / f - 1) / (m - 1)
    found: Array = own - 2 * np.einsum("osf,osf->o", a, b) / f
    return found


def mmd(current: Vectors, reference: Vectors) -> float:
    """The distance of the mean features themselves, ``sqrt(|a - b|^2 / F)`` over all bandwidths: biased, never below 0,
    and without drift about ``sqrt(1/n + 1/N)``, so that a null of windows standardises it.

    >>> rng = np.random.default_rng(0)
    >>> zero = Vectors.fit(rng.normal(size=(2000, 4)), seed=1, centroids=4)
    >>> base = zero.update(rng.normal(size=(5000, 4)))
    >>> mmd(base, base), round(mmd(zero.update(rng.normal(size=(500, 4)) + .3), base), 1)
    (0.0, 0.1)
    """
    frame_of(current, reference, part="waves")
    apart = current.features() - reference.features()
    return float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))


def mmd2(current: Vectors, reference: Vectors) -> float:
    """The mean of the squared discrepancies over the bandwidths, which is that of the mean of the kernels.

    >>> rng = np.random.default_rng(0)
    >>> zero = Vectors.fit(rng.normal(size=(2000, 4)), seed=1, centroids=4)
    >>> base = zero.update(rng.normal(size=(5000, 4)))
    >>> abs(mmd2(zero.update(rng.normal(size=(500, 4))), base)) < 0.003 < mmd2(zero.update(rng.normal(size=(500, 4)) + .3), base)
    True
    """  # noqa: E501
    return float(mmd2_by_bandwidth(current, reference).mean())
