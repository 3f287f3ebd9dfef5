"""Lanes along a ramp: whom a stage meets for the first time, and in which stage a user enters the interleave lane.

`lane_share` rises from stage to stage, so users move from ``rest`` to ``interleave`` and stay there. Two counts follow.

*Groups*, for the sample ratio: users by the stage in which they were met and the one in which they were last met before
(``"ramp_5"``: never; ``"canary>ramp_5"``: in the canary, in holdout or rest). A user who has been in the interleave
lane is counted no more: whether such a user comes back may be the candidate's doing, and a check of the assignment must
not see that. Up to then everybody was served by the champion alone, so of a group the plan's chances are known
whatever the candidate is worth: holdout H, interleave (1 - H)(L - L'), rest (1 - H)(1 - L), over their sum, with L the
stage's lane share and L' that of the stage before (0 for whom was never met).

*Entries*, for the guardrails: the stage in which a user enters the interleave lane, by hash if need be, whether or not
the user ever comes back. Everybody who was met in any stage belongs to a lane of the present one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from incumbent.experiments.assignment import lane_points
from incumbent.experiments.experiment import RAMP

#: the lanes that a plan splits its users into
PLANNED = ("holdout", "interleave", "rest")
STAGES = (*RAMP, "promoted")
#: entry of those who stay in `rest` to the end
NEVER = "never"


def groups_of(met: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str]]:
    """Group and lane of every stage that a user (stage -> lanes met in) counts in.

    >>> list(groups_of({"canary": ["rest"], "ramp_10": ["interleave"], "ramp_50": ["interleave"]}))
    [('canary', 'rest'), ('canary>ramp_10', 'interleave')]
    """
    before = ""
    for stage in STAGES:
        lanes = [lane for lane in PLANNED if lane in met.get(stage, ())]
        for lane in lanes:
            yield f"{before}>{stage}" if before else stage, lane
        if "interleave" in lanes:
            return
        before = stage if lanes else before


def planned(group: str, holdout: float, shares: Mapping[str, float]) -> dict[str, float]:
    """The plan's chance of each lane in a group, those of 0 left out; empty where nobody can be in the group.

    `shares` are the lane shares of the stages.

    >>> shares = {"canary": 0.1, "ramp_50": 1.0}
    >>> planned("canary", 0.2, shares)
    {'holdout': 0.2, 'interleave': 0.08000000000000002, 'rest': 0.7200000000000001}
    >>> {lane: round(chance, 3) for lane, chance in planned("canary>ramp_50", 0.2, shares).items()}
    {'holdout': 0.217, 'interleave': 0.783}
    """
    before, _, stage = group.rpartition(">")
    known, share = shares.get(before, 0.0), shares.get(stage, 0.0)
    parts = {"holdout": holdout, "interleave": (1 - holdout) * (share - known), "rest": (1 - holdout) * (1 - share)}
    total = sum(parts.values())
    return {lane: part / total for lane, part in parts.items() if part > 0}


def entries_of(met: Mapping[str, Collection[str]], unit: str, salt: str, shares: Mapping[str, float]) -> list[str]:
    """Where a user stands along the ramp: ``holdout``, the stage of the entry into the interleave lane, or ``never``.

    What was logged comes first, the first stage that met the user there; of a user who was met in ``rest`` alone the
    hash tells which stage will be the one. More than one only where the log contradicts itself, none outside the
    experiment. So an entry tells the lane of the latest stage that met anybody, and of those after it.

    >>> entries_of({"canary": ["rest"]}, "u42", "exp1", {"canary": 0.05, "ramp_25": 0.5, "ramp_50": 1.0})
    ['ramp_50']
    """
    found = ["holdout"] if any("holdout" in lanes for lanes in met.values()) else []
    found += [stage for stage in STAGES if "interleave" in met.get(stage, ())][:1]
    if not found and any("rest" in lanes for lanes in met.values()):
        point = lane_points(salt, unit)[1]
        found = [next((stage for stage, share in shares.items() if point < share or share >= 1), NEVER)]
    return found


def lane_at(entry: str, stage: str) -> str:
    """The lane in a stage of those who enter there.

    >>> [lane_at("ramp_10", stage) for stage in ("ramp_5", "ramp_10", "promoted")], lane_at("holdout", "ramp_50")
    (['rest', 'interleave', 'interleave'], 'holdout')
    """
    if entry == "holdout":
        return entry
    return "interleave" if entry != NEVER and STAGES.index(entry) <= STAGES.index(stage) else "rest"
