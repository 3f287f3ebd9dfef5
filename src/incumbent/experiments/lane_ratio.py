"""lane_ratio: users per lane against the plan of each stage, the sample-ratio check of a ramp whose lanes widen.

Every group of users (`lanes`: by the stage, and the one in which they were last met before) has known chances under a
sound assignment, whatever the candidate is worth. Its e-value is that of the Dirichlet-multinomial, on users whom the
candidate cannot have touched. A user's next lane has those chances given all that was seen before, so each e-value is
a martingale from 1 in one and the same filtration; so are the product of a stage's groups, and the mean over the stages
that the plan declares, those not reached yet with 1. The mean ever exceeds 1000 with a probability of 1/1000 at most,
and a stage that is wrong by itself shows in it, divided by the number of stages (8 at most) at worst.
Source: Lindon and Malek, arXiv 2011.03567.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from incumbent.config import ExperimentConfig
from incumbent.experiments.evidence import Check
from incumbent.experiments.experiment import lane_shares
from incumbent.experiments.lanes import STAGES, planned
from incumbent.stats.dirichlet import sample_ratio_e
from incumbent.stats.sample_ratio import sample_ratio_p

ALARM_E = 1000.0


class _Found(Struct):
    """One stage so far: users and the plan's expectation by lane, the e-value, and the p-values of its groups."""

    users: Counter[str]
    expected: dict[str, float]
    unplanned: Counter[str]
    ps: list[float]
    e: float = 1.0

    def planned(self) -> dict[str, float]:
        n = sum(self.expected.values())
        return {lane: part / n for lane, part in self.expected.items()} if n else {}

    def told(self) -> str:
        return ", ".join(f"{lane} {self.users[lane]} (plan {part:.1%})" for lane, part in self.planned().items())


def sample_ratio(groups: Mapping[str, Mapping[str, int]], config: ExperimentConfig) -> Check:
    """Users per lane of each group against the plan; chi-square is shown beside the e-value, the least p-value times
    their number.

    >>> from incumbent.config import ExperimentConfig, StageConfig
    >>> at_once = (StageConfig(stage="ramp_50", share=0.5),)
    >>> config = ExperimentConfig(surface="home", candidate="cf", holdout=0.05, stages=at_once)
    >>> check = sample_ratio({"ramp_50": {"interleave": 9600, "holdout": 400}}, config)
    >>> check.status, round(check.e_value, 2), round(check.p_value, 10)  # the mean of 384.17 and 1, before a promotion
    ('ok', 192.59, 4.4684e-06)
    """
    shares = lane_shares(config)
    found: dict[str, _Found] = {stage: _stage(stage, groups, config.holdout, shares) for stage in STAGES}
    met = {stage: one for stage, one in found.items() if one.users or one.unplanned}
    n = sum(one.users.total() + one.unplanned.total() for one in met.values())
    numbers: dict[str, Any] = {"stages": {stage: {
        "users": dict(one.users), "planned": one.planned(), "e": one.e} for stage, one in met.items()}}
    strangers = {stage: dict(one.unplanned) for stage, one in met.items() if one.unplanned}
    if strangers:
        return Check(name="sample_ratio", status="void", n=n, numbers={**numbers, "unplanned": strangers},
                     reason=f"users in lanes of share 0: {strangers}")
    if n == 0:
        return Check(name="sample_ratio", status="no_data", reason="no users yet", numbers=numbers)
    ps = [p for one in met.values() for p in one.ps]
    if not ps:
        return Check(name="sample_ratio", status="ok", n=n, numbers=numbers,
                     reason="one lane holds everybody: there is no ratio to check")
    e = sum(found[stage].e for stage in shares) / len(shares)
    p, alarm = min(1.0, len(ps) * min(ps)), e > ALARM_E
    shown = max(met, key=lambda stage: met[stage].e) if alarm else list(met)[-1]
    return Check(name="sample_ratio", status="void" if alarm else "ok", n=n, e_value=e, p_value=p, numbers=numbers,
                 reason=f"users per lane {'do not fit' if alarm else 'fit'} the plan of their stage: {shown}: "
                        f"{met[shown].told()}; e = {e:.3g}, p = {p:.3g}")


def _stage(stage: str, groups: Mapping[str, Mapping[str, int]], holdout: float, shares: Mapping[str, float]) -> _Found:
    """All groups of one stage."""
    found = _Found(Counter(), {}, Counter(), [])
    for group, lanes in sorted(groups.items()):
        if group.rpartition(">")[2] != stage:
            continue
        plan = planned(group, holdout, shares)
        counts = [lanes.get(lane, 0) for lane in plan]
        found.unplanned.update({lane: n for lane, n in lanes.items() if lane not in plan and n})
        found.users.update({lane: n for lane, n in zip(plan, counts, strict=True) if n})
        for lane, part in plan.items():
            found.expected[lane] = found.expected.get(lane, 0.0) + sum(counts) * part
        if len(plan) > 1 and any(counts):
            e = sample_ratio_e(counts, list(plan.values()))
            found.e = min(found.e * e, math.inf)
            found.ps.append(sample_ratio_p(counts, list(plan.values())))
    return found
