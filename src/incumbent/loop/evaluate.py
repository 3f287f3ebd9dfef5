"""evaluate: champion and candidate on the same held-out requests, and whether every expectation of the gate holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from incumbent.clock import Clock
from incumbent.events.plan import ModelPlan
from incumbent.loop.evaluation.ask_models import Asked, ask_models
from incumbent.loop.evaluation.held_out import HeldOut
from incumbent.loop.evaluation.measured import Measured
from incumbent.metrics.expectation import Outcome
from incumbent.metrics.expectation_file import GateConfig


@dataclass(frozen=True)
class Evaluation:
    """What came of a gate: every outcome, both models, and what the numbers stand on."""

    gate: str
    source: str
    champion: str
    candidate: str
    at: datetime
    outcomes: list[Outcome]
    counts: dict[str, int]
    statuses: dict[str, dict[str, int]]
    notes: list[str]

    @property
    def ok(self) -> bool:
        """May the candidate be released, as far as the gate says?"""
        return all(outcome.ok for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"gate": self.gate, "ok": self.ok, "source": self.source, "champion": self.champion,
                "candidate": self.candidate, "at": self.at.isoformat(), "counts": self.counts,
                "statuses": self.statuses, "notes": self.notes,
                "outcomes": [outcome.to_dict() for outcome in self.outcomes]}


def evaluate(
    held: HeldOut, champion: ModelPlan, candidate: ModelPlan, gate: GateConfig, clock: Clock,
) -> Evaluation:
    """Ask both models, measure their answers, judge the gate. The same answers give the same end."""
    asked = ask_models(held, (champion, candidate), gate, clock)
    notes = [*held.notes, *_failures(asked)]
    measured = Measured(held, asked, gate)
    outcomes = [outcome for n, one in enumerate(gate.expectations()) for outcome in measured.judge(one, notes, n)]
    statuses = {role: dict(sorted(Counter(str(answer.status) for answer in one.answers).items()))
                for role, one in zip(("champion", "candidate"), asked, strict=True)}
    return Evaluation(gate.name, held.source, _label(champion), _label(candidate), clock.now(), outcomes, held.counts,
                      statuses, notes)


def _failures(asked: Sequence[Asked]) -> list[str]:
    """Of each way in which a model failed one reason that it gave."""
    found: dict[tuple[str, str], str] = {}
    for role, one in zip(("champion", "candidate"), asked, strict=True):
        for answer in one.answers:
            if answer.status != "ok":
                found.setdefault((role, answer.status), answer.reason or "no reason was given")
    return [f"{role} {status}, such as: {reason}" for (role, status), reason in sorted(found.items())]


def _label(plan: ModelPlan) -> str:
    return f"{plan.name} {plan.version}"
