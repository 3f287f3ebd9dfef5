"""validity: may a verdict stand on these data? Coin audit, sample ratio, parity of the teams, overlap.

A void check voids the verdict: nothing is promoted or discarded on it. Sequential tests alarm above e = 1000, which
under a sound service happens once in a thousand experiments however often one looks; p-values are shown beside them
for a single look. Sources: Lindon and Malek, arXiv 2011.03567; Zhang et al., KDD 2025, Table 1 (the parity set).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scipy import stats

from incumbent.config import ExperimentConfig
from incumbent.experiments.audit import Tally
from incumbent.experiments.evidence import Check
from incumbent.experiments.lane_ratio import ALARM_E, sample_ratio
from incumbent.stats import anytime

__all__ = ["checks", "coin_audit", "overlap", "overlap_of", "parity", "sample_ratio"]

LOW_POWER = 0.9  # of the slots neutral
#: squared size of a parity's typical term, to which its mixture is tuned (declared, never estimated from the data)
_TERM = {"shown": 1.0, "first": 1.0, "rank": 0.05}
_TUNED_PAIRS = 5_000
_LABEL = {"shown": "items shown", "first": "shown first in its pair", "rank": "reciprocal rank in its pair"}


def checks(
    tally: Tally, groups: Mapping[str, Mapping[str, int]], config: ExperimentConfig,
) -> tuple[Check, ...]:
    """All checks of one experiment: coin_audit, sample_ratio (users by group and lane: `lanes`), parity, overlap."""
    return coin_audit(tally), sample_ratio(groups, config), parity(tally), overlap(tally)


def coin_audit(tally: Tally) -> Check:
    """Every recomputed impression must equal the log: one that does not voids the verdict."""
    numbers = {"interleaved": tally.interleaved, "mismatches": tally.mismatches, "examples": list(tally.examples)}
    if tally.mismatches:
        return Check(name="coin_audit", status="void", n=tally.impressions, numbers=numbers,
                     reason=f"{tally.mismatches} of {tally.impressions} impressions do not follow from their lists, "
                            f"coins and plan, first {tally.examples[0] if tally.examples else '?'}")
    if not tally.interleaved:
        return Check(name="coin_audit", status="no_data", n=tally.impressions, numbers=numbers,
                     reason="no interleaved impressions yet")
    return Check(name="coin_audit", status="ok", n=tally.impressions, numbers=numbers,
                 reason=f"all {tally.interleaved} interleaved impressions were recomputed and agree")


def parity(tally: Tally) -> Check:
    """The parity set: neither team is shown more, first or higher than fair coins allow.

    Per parity ``S = sum +-a`` over fair coins is sub-Gaussian with ``V = sum a^2``: e is the normal mixture
    ``exp(r^2 S^2 / (2 (V r^2 + 1))) / sqrt(V r^2 + 1)``, valid at every look; ``p = 2 Phi(-|S| / sqrt(V))``. S
    holds each user's ranking once, as a ranking that comes again throws no new coins; where callers have named more
    rankings than are remembered, the check warns of the pages that are in no sum. (Airbnb's fourth parity, items found,
    has nothing to say here: a drafted item that was not shown is a mismatch of the coin audit.)
    """
    sums: dict[str, tuple[float, float]] = {name: getattr(tally, name) for name in _TERM}
    rows = {name: _parity(s, v, _TERM[name]) for name, (s, v) in sums.items()}
    known = {name: row for name, row in rows.items() if row is not None}
    numbers: dict[str, Any] = {
        name: {"s": row[0], "v": row[1], "e": row[2], "p": row[3]} for name, row in known.items()}
    left_out = ""
    if tally.uncounted:
        numbers["uncounted"] = tally.uncounted
        left_out = (f"; without {tally.uncounted} pages of rankings that callers named after the memory for them was "
                    "full (their coins are recomputed all the same)")
    if not known:
        return Check(name="parity", status="no_data", reason="no competitive pairs yet", numbers=numbers)
    worst = max(known, key=lambda name: known[name][2])
    e, p = known[worst][2], known[worst][3]
    n = int(tally.first[1])
    if e > ALARM_E:
        return Check(name="parity", status="void", n=n, e_value=e, p_value=p, numbers=numbers,
                     reason=f"the teams are not treated alike: {_LABEL[worst]}{left_out}")
    told = ", ".join(f"{_LABEL[name]} p = {row[3]:.2g}" for name, row in known.items())
    return Check(name="parity", status="ok", n=n, e_value=e, p_value=p, numbers=numbers, warning=bool(left_out),
                 reason=f"the teams are treated alike: {told}{left_out}")


def overlap(tally: Tally) -> Check:
    """How much of the drafted slots both models agreed on: at 1.0 there is nothing to compare, above 0.9 little."""
    if not tally.organic:
        return Check(name="overlap", status="no_data", reason="no drafted slots yet")
    shared, neutral = tally.shared / tally.organic, (tally.shared + tally.uncontested) / tally.organic
    numbers = {"overlap": shared, "neutral_rate": neutral, "slots": tally.organic,
               "candidate_share": tally.candidate_contested / tally.contested if tally.contested else None}
    if shared >= 1.0:
        reason, warning = "overlap = 1.0: both models give identical lists; no power, no step past the canary", True
    elif neutral > LOW_POWER:
        reason, warning = f"low power: {neutral:.0%} of the slots are neutral; consider an A/B test", True
    else:
        reason, warning = f"{shared:.0%} of the slots shared, {neutral:.0%} neutral", False
    return Check(name="overlap", status="ok", n=tally.organic, warning=warning, reason=reason, numbers=numbers)


def overlap_of(tally: Tally) -> float | None:
    """The shared part of the drafted slots; None without any."""
    return tally.shared / tally.organic if tally.organic else None


def _parity(s: float, v: float, term: float) -> tuple[float, float, float, float] | None:
    """S, V, e-value and p-value; None where no coin was thrown."""
    if v <= 0:
        return None
    r2 = anytime.tuning(1 / ALARM_E, _TUNED_PAIRS) ** 2 / term
    spread = v * r2 + 1
    log_e = r2 * s * s / (2 * spread) - math.log(spread) / 2
    return s, v, math.exp(min(log_e, 700.0)), float(2 * stats.norm.sf(abs(s) / math.sqrt(v)))
