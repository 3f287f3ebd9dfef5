"""operate: what a person does to an experiment. Each step needs a reason and a name, and is audited."""

from __future__ import annotations

from typing import Any

from incumbent import registry
from incumbent.clock import Clock
from incumbent.config import Config, ExperimentConfig, frozen_definition
from incumbent.errors import ConflictError, DataError, NotFoundError, near
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit, Decision, Verdict
from incumbent.experiments.evidence import Judgement
from incumbent.experiments.experiment import Step, definition_of, first_stage, require
from incumbent.loop.decide import latest
from incumbent.loop.enact import enact
from incumbent.loop.freeze import freeze
from incumbent.stores.store import Control, ExperimentRow

_VERDICT: dict[Step, Verdict] = {"start": "start", "hold": "hold", "resume": "start", "promote": "promote",
                                 "discard": "discard", "roll_back": "roll_back"}
_HELD: dict[Step, bool] = {"hold": True, "resume": False, "promote": False}


class Operator:
    """Start, hold, resume, promote, discard, roll back: by hand, over the same path as the rule's own verdicts.

    Every step raises `DataError` without a reason or a name, `NotFoundError` for an experiment that nobody knows, and
    `ConflictError`, naming what is allowed, where the experiment's stage does not allow it; a start also where policy,
    rule or credit cannot be loaded. A promotion by hand that the rule had not said so is carried out, and its Decision
    says what the rule had said. Promoting what is promoted already ends the back-test: the candidate is the champion.
    `actor` is who is known to act (a key, a user of this machine), `on_behalf_of` whom they say they act for: both are
    kept, neither replaces the other.
    """

    def __init__(self, control: Control, config: Config, clock: Clock, ids: EventIds) -> None:
        self._control, self._config, self._clock, self._ids = control, config, clock, ids

    def start(self, name: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Decision:
        """Begin an experiment that is configured and has not run; its configuration is frozen from here on."""
        row = self._control.experiment(name)
        if row is None and name not in self._config.experiments:
            raise NotFoundError("no such experiment", got=name, field="experiment",
                                expected="one of " + (", ".join(sorted(self._config.experiments)) or "none configured"),
                                hint=near(name, self._config.experiments))
        require("start", name, row.stage if row else None, held=bool(row and row.held))
        self._require_free_surface(name)
        _require_loadable(name, self._config.experiments[name])
        now = self._clock.now()
        definition = freeze(self._control, self._config, name, frozen_definition(self._config, name), now)
        new = ExperimentRow(name, first_stage(definition_of(definition)), now, now, False, None, 0, definition)
        return self._enact(new, "start", actor, reason, named(on_behalf_of))

    def hold(self, name: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Decision:
        """Keep an experiment where it is; guardrails still roll it back."""
        return self._step(name, "hold", actor, reason, on_behalf_of)

    def resume(self, name: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Decision:
        """Let the rule judge again."""
        return self._step(name, "resume", actor, reason, on_behalf_of)

    def promote(self, name: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Decision:
        """Promote whatever the rule says; of a promoted one: end its back-test."""
        return self._step(name, "promote", actor, reason, on_behalf_of)

    def discard(self, name: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Decision:
        """End an experiment; the champion stays."""
        return self._step(name, "discard", actor, reason, on_behalf_of)

    def roll_back(self, name: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> Decision:
        """Take the candidate away from shoppers at once, promoted or not; the champion stays."""
        return self._step(name, "roll_back", actor, reason, on_behalf_of)

    def _step(self, name: str, step: Step, actor: str, reason: str, on_behalf_of: str | None) -> Decision:
        row = self._control.experiment(name)
        if row is None and name not in self._config.experiments:
            raise NotFoundError("no such experiment", got=name, field="experiment")
        require(step, name, row.stage if row else None, held=bool(row and row.held))
        assert row is not None  # nothing but start is allowed before
        return self._enact(row, step, actor, reason, named(on_behalf_of) | self._rule_said(name, step))

    def _enact(self, row: ExperimentRow, step: Step, actor: str, reason: str, extra: dict[str, Any]) -> Decision:
        actor, reason = actor.strip(), reason.strip()
        for field, text in (("actor", actor), ("reason", reason)):
            if not text:
                raise DataError(f"a step by hand needs a {field}", got=text, field=field,
                                hint="it is what somebody reads a year from now")
        now = self._clock.now()
        audit = Audit(event_id=self._ids.new(), time=now, actor=actor, action=f"experiment.{step}",
                      subject=f"experiment:{row.name}", reason=reason, details={"stage": row.stage, **extra})
        told = {"hold": "held", "resume": "resumed"}.get(step)
        judgement = Judgement(verdict=_VERDICT[step], cause=f"by_hand_{step}",
                              reason=f"{told}: {reason}" if told else reason)
        return enact(self._control, self._ids, row, judgement, now, by=actor, extra={"by_hand": step, **extra},
                     held=_HELD.get(step), audit=audit)

    def _rule_said(self, name: str, step: Step) -> dict[str, Any]:
        """What the rule last said, and whether this step goes against it."""
        seen = latest(self._control, name)
        if seen is None:
            return {"rule_said": None, "override": step == "promote"}
        return {"rule_said": {"verdict": seen.verdict, "cause": seen.cause, "reason": seen.reason,
                              "time": seen.time.isoformat(), "rule_hash": seen.rule_hash},
                "override": step == "promote" and seen.verdict != "promote"}

    def _require_free_surface(self, name: str) -> None:
        surface = self._config.experiments[name].surface
        for other in self._control.experiments():
            if other.stage != "ended" and other.definition.get("surface") == surface:
                raise ConflictError(f"surface {surface!r} already runs an experiment", got=name,
                                    expected="one experiment per surface at a time",
                                    hint=f"end {other.name!r} first")


def _require_loadable(name: str, experiment: ExperimentConfig) -> None:
    """The definition is frozen: a policy that does not load would stop every gateway, a rule that does not, judging."""
    for kind, key, settings in (("policies", "policy", {"coin": experiment.coin}), ("rules", "rule", {}),
                                ("credits", "attribution", None)):
        try:
            found = registry.load(kind, getattr(experiment, key))
            if settings is not None:
                found(**settings)
        except Exception as error:  # a plugin's own code runs here
            raise ConflictError(f"experiment {name!r} cannot start: its {key} cannot be loaded", field=key,
                                got=getattr(experiment, key), hint=f"{type(error).__name__}: {error}") from error


def named(on_behalf_of: str | None) -> dict[str, Any]:
    """Whom somebody says they act for, as audit rows and decisions keep it; nothing where they name nobody.

    >>> named(" ann "), named(None), named("  ")
    ({'on_behalf_of': 'ann'}, {}, {})
    """
    stated = (on_behalf_of or "").strip()
    return {"on_behalf_of": stated} if stated else {}
