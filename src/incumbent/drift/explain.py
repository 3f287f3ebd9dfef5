"""Explanation of a drift of embeddings in the catalogue's words: clusters, attributes, items, segments, a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from incumbent.drift import divergence
from incumbent.drift.breakdown import Breakdown, ShareChange, breakdown, price_bands
from incumbent.drift.cluster_words import cluster_words
from incumbent.drift.clusters import ClusterChange, cluster_changes
from incumbent.drift.item_table import Array, ItemTable
from incumbent.drift.segments import LEAST, SegmentChange, segment_changes
from incumbent.drift.space_map import SpaceMap, space_map
from incumbent.errors import DataError
from incumbent.stats.vectors import Vectors

OTHER = "(no item)"


@dataclass(frozen=True)
class MovedCluster:
    """A cluster that moved: shares, part of the total divergence, its words, and titles nearest its centroid.

    `before` are of items that came in the reference window, `after` of those in the current one; `changes` are its
    items whose share changed most, empty where the table has no counts.
    """

    cluster: int
    words: tuple[str, ...]
    reference: float
    current: float
    part: float
    before: tuple[str, ...]
    after: tuple[str, ...]
    changes: tuple[ShareChange, ...]


@dataclass(frozen=True)
class Explanation:
    """What changed between two windows, and how much of it each piece explains.

    `js` is the divergence of the counts per centroid and `noise` what of it is expected without drift. `clusters` are
    the ones that explain most, `breakdowns` one per attribute, price band and item (parts sum to 1 in each), `method`
    ``counted`` or ``through clusters``: how attributes came by their shares.
    """

    js: float
    noise: float
    n: int
    reference_n: int
    clusters: tuple[MovedCluster, ...]
    breakdowns: tuple[Breakdown, ...]
    method: str
    segments: tuple[SegmentChange, ...]
    picture: SpaceMap

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def text(self, *, examples: int = 3, values: int = 4) -> str:
        """The explanation for a person, a line for each piece.

        A share reads ``then -> now``, followed by its part of the divergence.
        """
        lines = [f"mix of {self.n:,} vectors against {self.reference_n:,}: divergence {self.js:.4f} nats, "
                 f"{self.noise:.4f} expected without drift"]
        for cluster in self.clusters:
            lines.append(f"{_change(cluster)}  {', '.join(cluster.words) or f'cluster {cluster.cluster}'}")
            lines += [f"      {side}: {'; '.join(titles[:examples]) or 'no items'}"
                      for side, titles in (("before", cluster.before), ("after", cluster.after))]
            if cluster.changes:
                lines.append("      moved: " + "; ".join(f"{c.name} {c.reference:.2%} -> {c.current:.2%}"
                                                        for c in cluster.changes[:examples]))
        for found in self.breakdowns:
            lines.append(f"by {found.by} ({self.method}): {found.js:.4f} nats, {found.noise:.4f} expected")
            lines += [f"{_change(change)}  {change.name}" for change in found.changes[:values]]
        for segment in self.segments:
            felt = segment.reason or f"{segment.js:.4f} nats, {segment.part:.0%} of the change"
            lines.append(f"segment {segment.segment}: {felt} ({segment.n:,} vectors)")
        return "\n".join(lines)


def explain(
    current: Vectors, reference: Vectors, items: ItemTable, *,
    segments: tuple[Mapping[str, Vectors], Mapping[str, Vectors]] | None = None, clusters: int = 5,
    examples: int = 10, bands: int = 5, least: int = LEAST,
) -> Explanation:
    """Say what a drift between two windows consists of, from their states and a table of items.

    Every cluster's part is what it adds to the Jensen-Shannon divergence of the counts per centroid, over the sum.
    Attributes, price bands (edges at the reference's quantiles) and items are dealt the same way over their own shares:
    from the table's counts, and without them from the clusters (an item of a cluster stands for an even part of it, and
    items by themselves are not told). `segments` are (current, reference) states per segment (`segment_changes`).
    Parts describe and do not test: whether there is drift at all is the alarm's business, and `js` near `noise` is
    none. `StateError` for states of different frames; `DataError` where a window has no sound vectors or no weight.

    >>> rng = np.random.default_rng(0)
    >>> old = np.vstack([rng.normal(size=(300, 3)) + [9, 0, 0], rng.normal(size=(300, 3))])
    >>> zero = Vectors.fit(old, seed=1, centroids=2)
    >>> table = ItemTable(["warm hat", "garden chair"], [[9.0, 0, 0], [0, 0.1, 0]], {"category": ["wool", "garden"]})
    >>> found = explain(zero.update(old[:400]), zero.update(old), table)
    >>> found.clusters[0].after, [(c.name, round(c.current, 2)) for c in found.breakdowns[0].changes]
    (('garden chair',), [('garden', 0.25), ('wool', 0.75)])
    """
    if clusters < 1 or examples < 1:
        raise DataError("clusters and examples must be 1 or more", got=(clusters, examples))
    changes = cluster_changes(current, reference)
    js = divergence.js(current.cells, reference.cells)
    words = cluster_words(list(items.titles), items.clusters(current.frame).tolist())
    weights = tuple(items.weights(state, side) for state, side in ((reference, "reference"), (current, "current")))
    counts = (weights[0][0], weights[1][0])
    for side, (known, rest) in zip(("reference", "current"), weights, strict=True):
        if not known.sum() + rest > 0:
            raise DataError(f"no item of the table came in the {side} window", got=0, field=side)
    moved = tuple(_cluster(change, words, items, current, counts, examples)
                  for change in changes[:clusters] if change.part > 0)
    return Explanation(
        js=js, noise=js - divergence.js(current.cells, reference.cells, corrected=True), n=int(current.n),
        reference_n=int(reference.n), clusters=moved, breakdowns=_breakdowns(items, weights, current, reference, bands),
        method="counted" if items.counted else "through clusters",
        segments=tuple(segment_changes(*segments, least=least)) if segments is not None else (),
        picture=space_map(current, reference, words))


def _cluster(
    change: ClusterChange, words: Mapping[int, Sequence[str]], items: ItemTable, current: Vectors,
    weights: tuple[Array, Array], examples: int,
) -> MovedCluster:
    cluster = change.cluster
    inside = np.flatnonzero(items.clusters(current.frame) == cluster)
    inside = inside[np.argsort(items.distances(current.frame)[inside], kind="stable")]
    before, after = (tuple(str(items.titles[i]) for i in inside[side[inside] > 0][:examples]) for side in weights)
    changes: tuple[ShareChange, ...] = ()
    if items.counted:
        a, b = weights[0] / weights[0].sum(), weights[1] / weights[1].sum()
        parts = divergence.js_parts(weights[1], weights[0])
        order = inside[np.argsort(-parts[inside], kind="stable")][:examples]
        changes = tuple(ShareChange(str(items.titles[i]), float(a[i]), float(b[i]), float(parts[i] / parts.sum()))
                        for i in order if parts[i] > 0)
    return MovedCluster(cluster, tuple(words.get(cluster, ())), change.reference, change.current, change.part, before,
                        after, changes)


def _breakdowns(
    items: ItemTable, weights: tuple[tuple[Array, float], ...], current: Vectors, reference: Vectors, bands: int
) -> tuple[Breakdown, ...]:
    labels: dict[str, Sequence[str | None]] = dict(items.attributes)
    if items.prices is not None:
        labels["price band"] = price_bands(items.prices, weights[0][0], bands=bands)
    if items.counted:
        labels["item"] = items.titles
    then, now = (np.append(side, rest) for side, rest in weights)
    sizes = None if items.counted else (float(current.n), float(reference.n))
    return tuple(breakdown(name, [*column, OTHER], now, then, sizes=sizes) for name, column in labels.items())


def _change(change: MovedCluster | ShareChange) -> str:
    return f"  {change.reference:6.2%} -> {change.current:6.2%} {change.part:5.0%}"
