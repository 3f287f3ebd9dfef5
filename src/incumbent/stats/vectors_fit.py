"""The frame of an embedding state, fitted on a baseline sample: center, directions, bandwidth, bins, centroids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from incumbent.errors import DataError
from incumbent.stats.vectors_config import GRID, Floats, VectorsConfig
from incumbent.stats.vectors_kmeans import kmeans
from incumbent.stats.vectors_read import blocks

_TAIL = 0.001  # the outermost cells of a projection hold what lies beyond these quantiles of the sample
_NORM_STEP = 1e-3  # norms relatively nearer than this share a cell: normalised vectors differ by rounding
_LLOYD = 5  # of k-means: a sample not seen is no nearer to the centroids of 25
_BEYOND = (1.02, 1.05, 1.1, 1.25, 2.0)  # cells for norms outside those of the sample


def fit(
    sample: Any, *, seed: int, frequencies: int = 128, octaves: int = 2, principal: int | None = None,
    random: int | None = None, bins: int = 32, centroids: int = 128, directions: int = 64, norm_bins: int = 32,
    repeat_cells: int = 4096, max_rows: int = 10_000, covariance: bool = True,
) -> VectorsConfig:
    """The frozen frame for vectors like those of `sample` (anything that `vectors_read.blocks` takes).

    Of more than `max_rows` rows a uniform sample is used; NaN, infinite, zero and constant rows are left out.
    Bandwidths: 1, 1/2 ... (`octaves` of them) times the median distance of two rows (Gretton et al., JMLR 2012).
    `directions` leading principal directions are kept for covariances; `principal` of them and as many `random` others
    (each d / 4, but 8 to 32, unless given) carry histograms with edges at `bins` quantiles. With 0 of `frequencies`,
    `centroids`, `principal` and `random`, or `repeat_cells`, and without `covariance` that part is left out. The same
    sample, seed and settings give the same frame on one machine; elsewhere load it rather than fit it again.
    `DataError` where the sample has fewer rows than twice the largest of `centroids`, `bins` and `norm_bins`, or does
    not vary.

    >>> rows = np.random.default_rng(0).normal(size=(500, 8))
    >>> frame = fit(rows, seed=1, centroids=4, random=2, principal=3)
    >>> frame.dimension, frame.rows, frame.centroids.shape, frame.directions.shape
    (8, 500, (4, 8), (5, 8))
    """
    rng = np.random.default_rng(seed)
    rows = _sample(sample, rng, max_rows)
    n, d = rows.shape
    need = 2 * max(centroids, bins, norm_bins)
    if n < need:
        raise DataError("the baseline sample is too small for its state", got=f"{n} sound vectors",
                        expected=f"{need} or more", hint="take a longer baseline, or fewer centroids and bins")
    center = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    y = rows - center
    some = min(32, max(8, d // 4))
    principal = some if principal is None else principal
    basis, variances, tail = _principal(y, min(directions if covariance else principal, d))
    median = _median_distance(y[rng.choice(n, min(n, 500), replace=False)])
    varies = bool((variances[0] if len(variances) else tail) > 0)
    if not median > 0 or not varies:
        raise DataError("the baseline sample does not vary", got=f"median distance {median:g}", field="sample",
                        hint="more than half of its vectors are the same one" if varies else None)
    principal = min(principal, len(basis))
    others = _unit(rng.standard_normal((some if random is None else random, d)))
    lows, steps, edges = _bins(y @ np.vstack([basis[:principal], others]).T, bins)
    config = VectorsConfig(
        dimension=d, seed=int(seed), rows=n, bandwidth=median, octaves=octaves, principal=principal,
        tail_variance=tail, repeat_cells=repeat_cells, center=center,
        frequencies=(rng.standard_normal((frequencies, d)) / median).astype(np.float32), basis=basis, random=others,
        centroids=kmeans(y, centroids, rng, iterations=_LLOYD) if centroids else y[:0], variances=variances, lows=lows,
        steps=steps, edges=edges, covariance=covariance,
        norm_edges=_norm_edges(np.sqrt(np.vecdot(rows, rows), dtype=np.float64), norm_bins))
    return VectorsConfig.of(config.plain)


def _sample(source: Any, rng: np.random.Generator, most: int) -> Floats:
    """At most `most` sound rows, each as likely as any other: those with the least random keys, in their order."""
    kept: list[Floats] = []
    keys = np.empty(0)
    for block in blocks(source, None, rows=max(most, 1)):
        if kept and block.shape[1] != kept[0].shape[1]:
            raise DataError("vectors have mixed dimensions", got=block.shape[1], expected=str(kept[0].shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.vecdot(block, block)
        good = np.isfinite(squares) & (squares > 0)
        flat = (block[:, :1] == block[:, -1:]).all(axis=1)
        good[flat] &= (block[flat] != block[flat][:, :1]).any(axis=1)
        sound = block if good.all() else block[good]
        kept = [np.concatenate([*kept, sound]) if kept else sound]
        keys = np.concatenate([keys, rng.random(int(good.sum()))])
        if len(keys) > most:
            least = np.sort(np.argpartition(keys, most)[:most])
            kept, keys = [kept[0][least]], keys[least]
    rows = kept[0] if kept else np.empty((0, 0), dtype=np.float32)
    if rows.shape[1] < 2:
        raise DataError("a baseline needs vectors of 2 or more dimensions", got=rows.shape, field="sample")
    return rows


def _median_distance(y: Floats) -> float:
    """The median distance of two of the rows; 0 where rounding is all that they differ by."""
    wide = y.astype(np.float64)
    products = wide @ wide.T
    sums = np.add.outer(products.diagonal(), products.diagonal())
    squares = (sums - 2 * products)[np.triu_indices(len(y), 1)]
    squares[squares < 1e-12 * sums.max()] = 0
    return float(np.median(np.sqrt(squares)))


def _principal(y: Floats, k: int) -> tuple[Floats, NDArray[np.float64], float]:
    """The k leading principal directions, the variances along them, and the mean variance in the rest."""
    d = y.shape[1]
    if not k:
        return y[:0], np.empty(0), float(y.var(axis=0, dtype=np.float64).mean())
    wide = y.astype(np.float64)
    covariance = wide.T @ wide / max(len(y) - 1, 1)
    values, vectors = linalg.eigh(covariance, subset_by_index=(d - k, d - 1))
    basis = vectors[:, ::-1].T
    lead = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
    variances = np.maximum(values[::-1], 1e-9 * max(values[-1], 0.0))
    tail = float(np.trace(covariance) - variances.sum()) / (d - k) if d > k else 0.0
    return (basis * np.sign(lead)).astype(np.float32), variances, max(tail, 0.0)


def _bins(values: NDArray[Any], bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint16]]:
    """Low end and step of every projection's grid, and the edges of its cells as places on that grid."""
    levels = np.array([_TAIL, *(np.arange(1, bins) / bins), 1 - _TAIL])
    ranked = np.sort(np.ascontiguousarray(values.T), axis=1)
    below, part = np.divmod(levels * (len(values) - 1), 1)
    place = below.astype(np.intp)
    low, high = (ranked[:, at].astype(np.float64) for at in (place, np.minimum(place + 1, len(values) - 1)))
    points = low + part * (high - low)
    span = points[:, -1] - points[:, 0]
    span = np.maximum(span, 1e-6 * max(float(span.max(initial=0.0)), 1e-30))  # a direction in which nothing varies
    lows = points[:, 0] - 0.5 * span
    steps = 2 * span / GRID
    inner = np.clip(np.rint((points - lows[:, None]) / steps[:, None]), 1, GRID - 1)
    edges = np.hstack([np.zeros((len(lows), 1)), inner, np.full((len(lows), 1), GRID)])
    return lows, steps, edges.astype(np.uint16)


def _norm_edges(norms: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Quantiles of the norms, between multiples of a relative step, and some edges beyond both ends."""
    points = np.quantile(norms, np.arange(bins + 1) / bins)
    inner = np.exp((np.unique([np.floor(np.log(points) / _NORM_STEP), np.ceil(np.log(points) / _NORM_STEP) - 1]) + 0.5)
                   * _NORM_STEP)
    if len(inner) > bins + 1:
        inner = np.exp((np.unique(np.floor(np.log(points) / _NORM_STEP)) + 0.5) * _NORM_STEP)
    return np.concatenate([inner[0] / np.array(_BEYOND[::-1]), inner, inner[-1] * np.array(_BEYOND)])


def _unit(rows: NDArray[np.float64]) -> Floats:
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
