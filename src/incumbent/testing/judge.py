"""A shop in memory for the deciding half of the loop: impressions of the real draft, sealed units, rolled-up states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from incumbent.clock import ManualClock
from incumbent.config import Config
from incumbent.events.ids import EventIds
from incumbent.events.plan import ExperimentPlan, ServingPlan
from incumbent.events.schema import Alert, Decision, Impression, ModelAnswer, Slot
from incumbent.experiments.assignment import assign
from incumbent.experiments.pair_draft import PairDraft
from incumbent.loop import keys
from incumbent.loop.act import Actor
from incumbent.loop.decide import Decider
from incumbent.loop.operate import Operator
from incumbent.loop.plan import build_plan
from incumbent.stats.buckets import Buckets
from incumbent.stores.memory import open_stores
from incumbent.stores.store import ExperimentRow, Matured, StateRow

START = datetime(2026, 3, 2, tzinfo=UTC)
STAGES = [{"stage": "canary", "share": 0.5, "min_units": 10, "min_days": 1},
          {"stage": "ramp_50", "share": 0.5, "min_units": 10, "min_days": 1}]


def tree(**experiment: Any) -> dict[str, Any]:
    """A configuration with two models, two surfaces and two experiments on one of them."""
    return {
        "models": {"old": {"target": "m:old"}, "new": {"target": "m:new"}},
        "surfaces": {"home": {"champion": "old"}, "cart": {"champion": "old"}},
        "experiments": {
            "e1": {"surface": "home", "candidate": "new", "holdout": 0.2, "stages": STAGES, "min_units": 100,
                   "guardrails": [{"metric": "latency_ms", "margin": 50.0, "hard_limit": 1000.0}], **experiment},
            "e2": {"surface": "home", "candidate": "new", "guardrails": []},
        },
    }


class Shop:
    """Everything that a test of the judge touches, on one manual clock.

    >>> shop = Shop()
    >>> shop.run()
    >>> made = shop.serve(20)
    >>> shop.decider.run_once().judged["e1"].cause
    'units'
    """

    def __init__(self, **experiment: Any) -> None:
        self.config = Config(**tree(**experiment))
        self.clock = ManualClock(START)
        self.stores = open_stores(self.config, self.clock)
        self.control, self.lake, self.log = self.stores.control, self.stores.lake, self.stores.log
        self.ids = EventIds(self.clock)
        self.operator = Operator(self.control, self.config, self.clock, self.ids)
        self.decider = Decider(self.lake, self.control, self.clock, self.ids)
        self.actor = Actor(self.control, self.log, self.clock, self.plan_of, sinks=[self])
        self.told: list[Alert] = []
        self.sequence, self.users = 0, 0

    def plan_of(self) -> ServingPlan:
        """The plan that the experiments ask for."""
        return build_plan(self.config, self.control.experiments())

    def send(self, alert: Alert) -> None:
        """The shop is its own alert sink."""
        self.told.append(alert)

    def run(self, name: str = "e1") -> None:
        """Start the experiment and put its plan in force."""
        self.operator.start(name, actor="ada", reason="a better model")
        self.actor.run_once()

    def advance(self, days: float) -> None:
        """Let days pass."""
        self.clock.advance(seconds=days * 86_400)

    def row(self, name: str = "e1") -> ExperimentRow | None:
        """The experiment as it stands."""
        found: ExperimentRow | None = self.control.experiment(name)
        return found

    def decisions(self, name: str = "e1") -> list[Decision]:
        """All decisions, oldest first."""
        found: list[Decision] = self.control.conclusions("decision", name, 1000)
        return found[::-1]

    def serve(self, n: int, *, identical: bool = False,
              change: Callable[[Impression], Impression] | None = None,
              every: Callable[[Impression], Impression] | None = None,
              units: Sequence[str] | None = None) -> list[Impression]:
        """n requests of n new users, or of these `units`, under the plan in force, in the lake; `change` tampers with
        the first, `every` with all of them."""
        plan = self.control.plan()
        experiment = plan.surfaces["home"].experiment
        champion = [f"c{j}" for j in range(8)]
        candidate = list(champion) if identical else [f"t{j}" for j in range(8)]
        made = [self._impression(plan, experiment, champion, candidate, units[i] if units else None) for i in range(n)]
        if every:
            made = [every(each) for each in made]
        if change:
            made[0] = change(made[0])
        self.sequence += 1
        self.lake.commit(made, "tests", self.sequence)
        return made

    def _impression(self, plan: ServingPlan, experiment: ExperimentPlan, champion: list[str],
                    candidate: list[str], known: str | None) -> Impression:
        self.users += known is None
        unit = known or f"u{self.users}"
        ranking = f"r{self.users}" if known is None else f"r-{len(self.lake.scan('impression'))}-{unit}"
        lane, event_id = assign(experiment, unit, {}), self.ids.new()
        drawn = PairDraft(experiment.coin).choose(
            champion, candidate, 4, share=experiment.share, salt=experiment.salt, unit=unit, ranking_id=ranking)
        both = lane == "interleave"
        return Impression(
            event_id=event_id, request_id=f"q-{event_id}", ranking_id=ranking, time=self.clock.now(), user_id=unit,
            surface="home", mode="interleave" if both else "champion", lane=lane, plan=plan.hash, k=4,
            slots=drawn.slots if both else [Slot(i + 1, c, "solo", "champion") for i, c in enumerate(champion[:4])],
            coins=drawn.coins if both else [], experiment=experiment.name, stage=experiment.stage,
            share=experiment.share, policy=experiment.policy, salt=experiment.salt,
            models=[ModelAnswer("champion", "old", "1", "ok", 1.0, 8, champion),
                    ModelAnswer("candidate", "new", "1", "ok", 1.0, 8, candidate)])

    def mature(self, n: int, wins: float, *, losses: float = 0.2, stage: str = "ramp_50", name: str = "e1") -> None:
        """Seal n units of the interleave lane on the day before now: so many parts of them won, so many lost."""
        day = (self.clock.now() - timedelta(days=1)).date()
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        won, lost = round(n * wins), round(n * losses)
        rows = [Matured(name, f"{day}-{i}", "interleave", stage, at - timedelta(days=7), at, float(i < won),
                        float(won <= i < won + lost), 2.0, 0.0, 3) for i in range(n)]
        self.control.seal(name, day, rows, self.clock.now())

    def measure(self, *, extra_ms: float = 0.0, requests: int = 4_000, name: str = "e1",
                stage: str = "canary", failed: float = 0.0) -> None:
        """One day of the models' answers: the candidate's so much slower, and such a part of them failed."""
        rng = np.random.default_rng(3)
        rows = []
        for role, more in (("champion", 0.0), ("candidate", extra_ms)):
            values = np.zeros((requests, len(keys.MODEL)))
            if role == "candidate":
                values[: round(failed * requests), keys.MODEL.index("errors")] = 1.0
            values[:, keys.MODEL.index("latency_ms")] = rng.gamma(4.0, 5.0, requests) + more
            state = Buckets.zero(k=keys.BUCKETS, variables=list(keys.MODEL)).update(
                np.arange(requests) % keys.BUCKETS, values)
            key = keys.of_lane("model", name, stage, "interleave", f"role={role}", f"model={role}")
            rows.append(StateRow(key, self.clock.now().date(), 0, "buckets", state.config_hash, state.to_bytes()))
        self.control.put(self.clock.now().date(), 0, keys.FAMILY, rows)
