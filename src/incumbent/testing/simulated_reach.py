"""What a simulated run came by, as names: so that a batch of seeds can be held to having met everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from incumbent.events.schema import Audit, Decision
from incumbent.testing.simulated_experiment import EXPERIMENT

if TYPE_CHECKING:
    from incumbent.testing.simulation import Simulation

#: what ten seeds of two model weeks must meet between them
EXPECTED = frozenset({
    "stage shadow", "stage canary", "stage ramp_25", "stage ramp_50", "stage promoted", "stage ended",
    "mode champion", "mode shadow", "mode interleave", "mode fallback", "mode degraded",
    "lane holdout", "lane interleave", "lane rest", "page 2",
    "pair slot", "half slot", "shared slot", "pinned slot", "filler slot",
    "rule advance", "rule promote", "rule discard", "hand hold", "hand promote",
    "seal", "unit of the holdout", "unit first exposed at canary", "unit first exposed at ramp_50", "restatement",
    "erasure", "erasure of a sealed unit", "quarantine",
    "credited purchase", "credited refund", "reason neutral", "reason no_exposure", "reason outside_window",
    "reason before_exposure", "reason late_refund", "reason no_purchase", "reason unserved",
    "reason foreign_user", "reason other_request", "reason not_named",
    "front crash", "loop crash", "loop died in mid-step", "disk full", "store refusal", "clock step", "delisting",
    "model version",
    "feedback late", "feedback sent twice", "acknowledgement lost in a crash or on the way",
})


def reached(world: Simulation) -> frozenset[str]:
    """The names of what a run met: stages, lanes, verdicts by rule and by hand, seals, reasons, faults."""
    return frozenset({*_concluded(world), *_shown(world), *_credited(world), *_matured(world), *_befallen(world)})


def _concluded(world: Simulation) -> set[str]:
    decisions = [one for one in world.control.conclusions("decision", EXPERIMENT, 10_000) if isinstance(one, Decision)]
    return {f"stage {change.stage}" for change in world.control.stages(EXPERIMENT)} | {
        f"{'rule' if one.by == 'rule' else 'hand'} {one.verdict}" for one in decisions}


def _shown(world: Simulation) -> set[str]:
    rows = world.lake.scan("impression", columns=["mode", "lane", "page", "experiment", "slots"])
    kinds = {kind for chunk in rows["slots"].chunks for kind in pc.unique(pc.struct_field(chunk.flatten(), "kind"))
             .to_pylist()}
    found = {f"mode {mode}" for mode in pc.unique(rows["mode"]).to_pylist()}
    found |= {f"lane {lane}" for lane in pc.unique(rows["lane"]).to_pylist()}
    found |= {f"{kind} slot" for kind in kinds}
    return found | ({"page 2"} if rows.num_rows and pc.max(rows["page"]).as_py() > 1 else set())


def _credited(world: Simulation) -> set[str]:
    rows = world.lake.scan("outcome", columns=["action", "reason"])
    pairs = rows.group_by(["action", "reason"]).aggregate([]).to_pylist()
    return {f"credited {pair['action']}" if pair["reason"] is None else f"reason {pair['reason']}" for pair in pairs}


def _matured(world: Simulation) -> set[str]:
    control = world.control
    units, found = control.matured(EXPERIMENT), set[str]()
    found |= {f"unit first exposed at {unit.stage}" for unit in units if unit.lane == "interleave"}
    found |= {"unit of the holdout" for unit in units if unit.lane == "holdout"}
    found |= {"seal" for seal in control.seals(EXPERIMENT) if seal.units}
    found |= {"restatement" for _ in control.restated(EXPERIMENT)}
    if len(units) < sum(seal.units for seal in control.seals(EXPERIMENT)):
        found.add("erasure of a sealed unit")
    audits = control.conclusions("audit", limit=10_000)
    return found | {"erasure" for one in audits if isinstance(one, Audit) and one.action == "user.erase"}


def _befallen(world: Simulation) -> set[str]:
    faults = {name for name, count in world.ledger.faults.items() if count}
    if any(name.startswith("acknowledgement lost") for name in faults):
        faults.add("acknowledgement lost in a crash or on the way")
    if world.lake.scan("quarantine", columns=["event_id"]).num_rows:
        faults.add("quarantine")
    return faults
