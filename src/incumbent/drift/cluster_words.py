"""The words that a cluster's titles have and others have not: a name for a centroid."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W\d_]{3,}")


def cluster_words(titles: Sequence[str], clusters: Iterable[int], *, count: int = 3) -> dict[int, list[str]]:
    """Cluster -> its words, most telling first, lower case: the largest ``p ln(p / q)``.

    p is the share of the cluster's titles that have the word, q that of all titles: the word's part of the
    Kullback-Leibler divergence. Words of three letters or more; items of cluster -1 are in q alone.

    >>> cluster_words(["red lunch bag", "blue lunch bag", "red candle", "blue candle"], [0, 0, 1, 1], count=1)
    {0: ['bag'], 1: ['candle']}
    """
    every: Counter[str] = Counter()
    inside: dict[int, Counter[str]] = {}
    sizes: Counter[int] = Counter()
    for title, cluster in zip(titles, clusters, strict=True):
        words = set(_WORD.findall(title.lower()))
        every.update(words)
        inside.setdefault(int(cluster), Counter()).update(words)
        sizes[int(cluster)] += 1
    out: dict[int, list[str]] = {}
    for cluster in sorted(inside):
        if cluster < 0:
            continue
        scores = {word: n / sizes[cluster] * math.log(n / sizes[cluster] * len(titles) / every[word])
                  for word, n in inside[cluster].items()}
        out[cluster] = sorted((word for word in scores if scores[word] > 0),
                              key=lambda word: (-scores[word], word))[:count]
    return out
