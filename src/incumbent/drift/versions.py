"""Two versions of an embedding space: is the new one a rotation of the old, and if so, carry the baseline over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.procrustes import Alignment, align
from incumbent.errors import DataError
from incumbent.stats.pairs import Pairs
from incumbent.stats.vectors import Vectors
from incumbent.stats.vectors_config import VectorsConfig

TOLERANCE = 0.05  # of the energy left after alignment: about one item in twenty moved
ANCHORS_PER_DIMENSION = 5  # with fewer, a rotation fits even unrelated vectors: see `procrustes.align`
WARMUP = "version_warmup"


@dataclass(frozen=True)
class VersionCheck:
    """What a new version of a space is to the old one: a status, a reason, and the alignment where there is one.

    ``ok``: a rotation of the old within the tolerance (reason ``rotation``, or ``same`` for one version at two times);
    `transported` keeps the baseline comparable. ``drift``: ``items_moved`` against one another, or ``space_moved`` as a
    whole, by more than a rotation. ``no_data``: ``version_warmup``, the version needs a baseline of its own. `moved` is
    the residual that was judged, `detail` is for a person.
    """

    status: Literal["ok", "drift", "no_data"]
    reason: str
    detail: str
    moved: float | None = None
    alignment: Alignment | None = None


def compare_versions(
    pairs: Pairs | None, *, old_dimension: int, new_dimension: int, tolerance: float = TOLERANCE,
    anchors_per_dimension: float = ANCHORS_PER_DIMENSION,
) -> VersionCheck:
    """Judge a new version by the anchors, the items that have a vector in both versions.

    Drift where ``max(residual, translated) > tolerance``: the first is what a rotation of the baseline's frame would
    leave wrong, the second does not let a large common mean hide items that changed places. A shuffled index keeps
    every marginal and leaves most of the energy. Pairs of one named version at two times (yesterday and today) may not
    rotate either: then `still` counts too. The tolerance is the user's, and no calibrated null: there is no baseline of
    retrains. No data (``version_warmup``) with another dimension, without pairs, or with fewer than
    `anchors_per_dimension` d sound ones. `DataError` for pairs of another dimension and where a side does not vary.

    >>> x = np.random.default_rng(0).normal(size=(500, 4))
    >>> turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    >>> zero = Pairs.zero(dimension=4)
    >>> for new in (x @ turn.T, x[::-1]):
    ...     compare_versions(zero.update(x, new), old_dimension=4, new_dimension=4).status
    'ok'
    'drift'
    >>> compare_versions(None, old_dimension=4, new_dimension=8).reason
    'version_warmup'
    """
    if not 0 < tolerance < 1:
        raise DataError("tolerance must be in (0, 1)", got=tolerance, hint="5 % is 0.05", field="tolerance")
    if new_dimension != old_dimension:
        return _warmup(f"the dimension went from {old_dimension} to {new_dimension}")
    need = anchors_per_dimension * old_dimension
    n = int(pairs.n) if pairs is not None else 0
    if pairs is None or n < need:
        return _warmup(f"{n} items have a sound vector in both versions, {need:.0f} are needed")
    if pairs.dimension != old_dimension:
        raise DataError("pairs of another space", got=pairs.dimension, expected=str(old_dimension), field="pairs")
    found = align(pairs)
    config = pairs.config
    one = config["old_version"] == config["new_version"] != ""
    moved = max(found.residual, found.translated, found.still if one else 0.0)
    detail = (f"{moved:.2%} of the energy of {n} anchors is left "
              f"{'between two times of one version' if one else 'after alignment'}, {tolerance:.0%} tolerated")
    if moved <= tolerance:
        return VersionCheck("ok", "same" if one else "rotation", detail, moved, found)
    reason = "items_moved" if found.translated > tolerance else "space_moved"
    return VersionCheck("drift", reason, detail, moved, found)


def _warmup(why: str) -> VersionCheck:
    return VersionCheck("no_data", WARMUP, f"{why}: the new version needs a baseline of its own")


def transported_frame(frame: VectorsConfig, alignment: Alignment) -> VectorsConfig:
    """The baseline's frame in the new version: center, frequencies, basis, projections and centroids rotated."""
    return frame.rotated(alignment.rotation)


def transported(baseline: Vectors, alignment: Alignment) -> Vectors:
    """A state of the old version as it would be had its vectors been the new version's, ``z = R x``.

    ``sum z = R sum x``, ``sum z z' = R (sum x x') R'``; what is counted along rotated directions, about rotated
    centroids and in lengths stays as it is. Its frame is `transported_frame`: `Vectors.zero(**frame.plain)` takes the
    new version's vectors and compares with it. Exact for a rotation; what `compare_versions` left over is a change that
    the comparison then sees. Hashes of vectors do not rotate: repeats are counted on either side, but a vector is not
    known to be the same in both, so judge such states and do not merge them.

    >>> x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    >>> turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    >>> old, found = Vectors.fit(x, seed=1, centroids=4).update(x), align(Pairs.zero(dimension=4).update(x, x @ turn.T))
    >>> moved = transported(old, found)
    >>> again = Vectors.zero(**moved.config).update(x @ turn.T)
    >>> bool(np.allclose(moved.mean(), again.mean(), atol=1e-6)), moved.cells.tolist() == again.cells.tolist()
    (True, True)
    """
    return turned(baseline, alignment.rotation, transported_frame(baseline.frame, alignment))


def turned(baseline: Vectors, turn: NDArray[np.float64], frame: VectorsConfig) -> Vectors:
    """`transported` by the rotation R (d, d) alone, into the frame that was made of it: what a store keeps of a carried
    baseline. `DataError` for a rotation of another dimension, and for a state that keeps no covariance to turn."""
    baseline.keeps("covariance")
    d = frame.dimension
    if turn.shape != (d, d) or baseline.frame.dimension != d:
        raise DataError("a rotation of another dimension", got=(baseline.frame.dimension, *turn.shape),
                        expected=f"{d}, {d}, {d}", field="turn")
    outer = np.zeros((d, d))
    outer[np.triu_indices(d)] = baseline.outer
    outer = turn @ (outer + np.triu(outer, 1).T) @ turn.T
    kept = {key: getattr(baseline, key) for key in Vectors.arrays}
    return Vectors(frame.plain, **kept | {"sums": turn @ baseline.sums, "outer": outer[np.triu_indices(d)]})

