"""The whole life of an experiment in a synthetic world: one look a day by the judge's own code, until a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from incumbent.config import ExperimentConfig
from incumbent.experiments import analysis, guardrails, validity
from incumbent.experiments.analysis import Look
from incumbent.experiments.audit import Tally
from incumbent.experiments.evidence import Answers, Evidence, Judgement
from incumbent.experiments.experiment import after, first_stage, judged_in, lane_share_of, share_of
from incumbent.experiments.rules import Rule
from incumbent.testing.world import START, World


@dataclass
class Life:
    """How an experiment went: its verdict, after how many days, and when each stage began."""

    verdict: str = "running"
    cause: str = ""
    reason: str = ""
    days: int = 0
    stage: str = ""
    stages: dict[str, int] = field(default_factory=dict)  # stage -> first day
    evidence: Evidence | None = None

    def days_in(self, stage: str) -> int | None:
        """Days from the beginning of a stage to the verdict; None where it never came to that stage."""
        return self.days - self.stages[stage] if stage in self.stages else None


def live(world: World, config: ExperimentConfig, rule: Rule, *, days: int) -> Life:
    """Run an experiment in a world for at most so many days, with one look at the end of each.

    The life ends with the first verdict that ends the ramp; a promotion counts as one.
    """
    stage, since = first_stage(config), START
    life = Life(stages={stage: 0})
    for day in range(1, days + 1):
        world.live_day(stage, share_of(config, stage), lane_share_of(config, stage))
        life.evidence = evidence_of(world, config, stage, since)
        said: Judgement = rule.decide(life.evidence, world.now)
        life.days, life.stage, life.cause, life.reason = day, stage, said.cause, said.reason
        if said.verdict == "advance":
            stage, since = after(config, stage, "advance"), world.now
            life.stages[stage] = day
        elif said.verdict != "hold":
            life.verdict = said.verdict
            break
    return life


def evidence_of(world: World, config: ExperimentConfig, stage: str, since: datetime) -> Evidence:
    """What the judge would read of this world at the end of its last day: guardrails of the lane, clean coins."""
    look, units = Look.of(config), world.matured()
    alpha, share = config.alpha / max(len(config.guardrails), 1), share_of(config, stage)
    states, ours = world.lane_states(stage), units.first_in(*judged_in(config, stage))
    tally = tally_of(world)
    return Evidence(
        experiment="world", stage=stage, held=False, started_at=START, since=since,
        definition=config.model_dump(mode="json"), matured=len(units.interleaved.x),
        matured_here=len(units.interleaved.first_in(stage).x), preference=analysis.compare(ours, look),
        pooled=analysis.compare(units, look), answers=Answers(asked=world.asked, champion_asked=world.asked),
        guardrails=tuple(guardrails.read(part, states, stage=stage, share=share, alpha=alpha)
                         for part in config.guardrails),
        checks=validity.checks(tally, world.groups(), config), overlap=validity.overlap_of(tally))


def tally_of(world: World) -> Tally:
    """The audit's totals of a world that serves soundly: its fair coins, its overlap, nothing out of place."""
    pairs, requests = world.pairs, world.interleaved
    organic = 2 * world.shop.rounds * requests
    shared = organic if world.shop.overlap >= 1 else round(organic * world.shop.overlap)
    return Tally(impressions=world.requests, interleaved=requests, organic=organic, shared=shared,
                 contested=organic - shared, first=(2.0 * world.candidate_first - pairs, float(pairs)))
