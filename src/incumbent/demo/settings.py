"""What the demo declares before it looks: the experiment, the replayed period, the default size.

Chosen on seeds 1 to 8, and frozen before the seeds of docs/demo.md were run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from incumbent.config import Config, ExperimentConfig, GuardrailConfig, StageConfig, parse
from incumbent.demo.data import CURRENCY, SPLIT
from incumbent.demo.lists import Lists
from incumbent.demo.story import Story
from incumbent.demo.taste import SPACE

SURFACE = "home"
#: a trip asks for 20 items
LIST_ITEMS = 20
#: no household has more credit than this counted, either way
CAP = 20.0
WINDOW_DAYS = 14.0
#: the first days of the replay, which drift is judged against from then on. Six weeks: frames are fitted on the first
#: ten days, and 32 windows of a null let a clear change be told within two weeks (`incumbent drift status` says so)
BASELINE_DAYS = 42
BASELINE = "first_six_weeks"


@dataclass(frozen=True)
class Size:
    """How much is replayed: `shoppers` households, who join over `enrol_days`, on trips of at most `days`."""

    shoppers: int = 2_000
    enrol_days: int = 70
    days: int = 84

    @property
    def end(self) -> datetime:
        """When the last trip may be."""
        return SPLIT + timedelta(days=self.days)

    @property
    def over(self) -> datetime:
        """When every household that was exposed has matured."""
        return self.end + timedelta(days=WINDOW_DAYS)


def default_size(story: Story) -> Size:
    """What is replayed unless somebody says otherwise: 2,000 households, of twins 1,000.

    Twins are not told apart in most runs, so theirs goes on for all 98 days: with 2,000 households that takes some
    16,500 requests and more than ten minutes on two cores, with 1,000 no more work than the verdict on `cf`.

    >>> default_size("cf").shoppers, default_size("twin").shoppers
    (2000, 1000)
    """
    return Size(shoppers=1_000) if story == "twin" else Size()


#: a rung waits for households of its own to mature, which takes 14 days and more: 84 days have room for two below the
#: decisive one, so that ramp_5 and ramp_25 are left out. They join over 70 days: every rung has newcomers, and so
#: interleaves all who are not in the holdout
STAGES = (
    StageConfig(stage="shadow", share=0.0, min_units=0, min_answers=10, min_days=1.0),
    StageConfig(stage="canary", share=0.01, min_units=25, min_days=7.0),
    StageConfig(stage="ramp_10", share=0.10, min_units=25, min_days=2.0),
    StageConfig(stage="ramp_50", share=0.50, min_units=100, min_days=7.0),
)

GUARDRAILS = (
    GuardrailConfig(metric="revenue_per_user_day", margin=0.10),
    GuardrailConfig(metric="error_rate", margin=0.01, hard_limit=0.2),
    GuardrailConfig(metric="latency_ms", margin=50.0, hard_limit=1000.0),
)


def experiment(story: Story, seed: int, candidate: str, size: Size) -> ExperimentConfig:
    """The experiment of a story; its salt holds the seed, so that every seed has lanes and coins of its own."""
    return ExperimentConfig(
        surface=SURFACE, candidate=candidate, salt=f"{story}-{seed}", holdout=0.3, attribution="last_touch",
        attribution_window_days=WINDOW_DAYS, maturity_window_days=WINDOW_DAYS, actions={"purchase": 1.0},
        outcome="count", currency=CURRENCY, cap=CAP, alpha=0.05, tuning_units=1_000, delta_min=0.10,
        min_units=min(150, max(2, size.shoppers // 12)), min_look_units=100, min_days=14.0,
        max_days=float(size.days + WINDOW_DAYS), stages=STAGES, guardrails=GUARDRAILS,
    )


#: what is watched, one false alarm a week in all: a household's vectors, items that the models recommend, what requests
#: say, and the response. Prices are not told; scores of popularity differ by the size of a store, and follow the items
DRIFT = {
    "false_alarms_per_month": 4.35, "monitors": {
        "embeddings": {"weight": 2.0}, "items": {"weight": 2.0}, "context": {"weight": 2.0},
        "response": {"weight": 0.5}, "missing": {"weight": 0.5}, "prices": {"on": False}, "scores": {"on": False},
        "ndcg": {"on": False}},
}


def refused(config: ExperimentConfig, *, cause: str, stage: str, matured: int, since: datetime, now: datetime) -> bool:
    """Whether only the identity of the two lists keeps an experiment from its next stage: nothing more will come.

    `cause`, `matured` (of this stage's own households) and the rest are those of the rule's last look.
    """
    rung = next((rung for rung in config.stages if rung.stage == stage), None)
    return (cause == "identical" and rung is not None and matured >= rung.min_units
            and now >= since + timedelta(days=rung.min_days))


def configuration(
    story: Story, seed: int, champion: Lists, candidate: Lists, size: Size, *, directory: str, port: int,
) -> Config:
    """The whole configuration of the service that the demo starts."""
    models = {name: {"target": f"incumbent.demo.models:{role}", "local": True, "deadline_ms": 500, "concurrency": 256}
              for role, name in (("champion", champion.name), ("candidate", candidate.name))}
    return parse({
        "service": {"port": port, "clock": "replay", "replay_start": SPLIT.isoformat(), "log_level": "warning"},
        # every midnight rebuilds the day's partitions: few buckets for few households
        # an answer counts as acknowledged, so the impression is on disk before it leaves
        "stores": {"directory": directory, "buckets": 4, "durability": "before_answer"},
        # the replay steps the loop at every midnight (POST /v1/loop/run); its own schedule is for what comes after
        "loop": {"attribute_s": 60.0, "decide_s": 60.0},
        "drift": DRIFT,
        # cut by what the requests say; how unlike the items of a list are is told by their vectors
        "metrics": {"context": ["store", "season"], "space": SPACE, "currency": CURRENCY},
        "models": models,
        "surfaces": {SURFACE: {"champion": champion.name, "k_max": LIST_ITEMS, "depth": LIST_ITEMS,
                               "deadline_ms": 1_000}},
        "experiments": {story: experiment(story, seed, candidate.name, size).model_dump(mode="json")},
    })
