"""How much of a drift is only another mix of segments: what is left of it once the reference is weighted like now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from incumbent.drift import divergence
from incumbent.drift.segments import cells, size

FEW = 10  # rows of both sides, below which cells are put together


@dataclass(frozen=True)
class MixChange:
    """``js = mix + within``, in nats; `noise` is what of `js` is expected without drift."""

    js: float
    mix: float
    within: float
    noise: float


def mix_change(current: Mapping[str, Any], reference: Mapping[str, Any]) -> MixChange | None:
    """The Jensen-Shannon divergence between two sides, split in mix of segments and change within them.

    With P and Q the shares of the cells now and then, and ``R = sum over segments s of v_s Q_s``, v_s the segment's share
    of what is there now: `within` is ``js(P, R)``, the divergence that stays once the reference has today's segments
    (post-stratification), and `mix` the rest, ``js(P, Q) - js(P, R)``: below 0 where the mix hides a change within. A
    segment that has nothing in the reference stands in R as it is now, so that its coming is mix. States are those of
    `segments.segment_changes`; cells of fewer than `FEW` rows are put together.

    None where a side has no rows. Sources: D. Holt, T. M. F. Smith, J. R. Stat. Soc. A 142 (1979); after the context of
    O. Cobb, A. Van Looveren, ICML 2022, arXiv 2203.08644.

    >>> before = {"phone": np.array([90, 10]), "desktop": np.array([10, 90])}
    >>> found = mix_change({"phone": np.array([810, 90]), "desktop": np.array([10, 90])}, before)  # nine times as many
    >>> round(found.js, 3), round(found.mix, 3), round(abs(found.within), 3)
    (0.059, 0.059, 0.0)
    """  # noqa: E501
    now, then = ({name: cells(state).astype(np.float64) for name, state in side.items() if size(state)}
                 for side in (current, reference))
    if not now or not then:
        return None
    p, q = (np.sum(list(side.values()), axis=0) for side in (now, then))
    weighted = np.sum([counts.sum() * shares / shares.sum() for name, counts in now.items()
                       for shares in (then.get(name, counts),)], axis=0)
    kept = (p + q) >= FEW
    p, q, weighted = (np.append(side[kept], side[~kept].sum()) for side in (p, q, weighted))
    n, m, used = float(p.sum()), float(q.sum()), int((p + q > 0).sum())
    js, within = divergence.js(p, q), divergence.js(p, weighted)
    return MixChange(js, js - within, within, (used - 1) * (1 / n + 1 / m) / 8)
