"""The desk: everything that a person or a program asks of a deployment and tells it, over its stores.

The control routes, the page and the command line all go through here, so that they say the same.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from incumbent.clock import Clock
from incumbent.config import Config, frozen_definition
from incumbent.errors import DataError, NotFoundError, StoreError, near
from incumbent.events.ids import EventIds, Signer, hash_user
from incumbent.experiments.experiment import steps
from incumbent.loop.decide import latest, unjudgeable
from incumbent.loop.operate import Operator
from incumbent.loop.plan import share_of, unservable
from incumbent.loop.shoppers import excluded_by
from incumbent.service.auth import signing_secret
from incumbent.service.exclusions import ExclusionRequest, kind_of
from incumbent.service.pulse import Pulse, credit_tiles
from incumbent.stores.store import ExperimentRow, Stores

if TYPE_CHECKING:
    from incumbent.loop.drift.audited import Progress
    from incumbent.loop.metrics.desk import Trees

#: what a path or a command calls a step -> the operator's verb
STEPS = {"start": "start", "hold": "hold", "resume": "resume", "promote": "promote", "discard": "discard",
         "rollback": "roll_back"}


class Desk:
    """Answers in plain JSON values. Errors are those of `incumbent.errors`, with what is allowed in their place."""

    def __init__(self, config: Config, stores: Stores, clock: Clock, pulse: Pulse | None = None) -> None:
        self.config, self.stores, self.clock, self._pulse = config, stores, clock, pulse
        self._metrics: Trees | None = None
        self._watched: dict[str, Any] = {}  # of a baseline, from one look at drift to the next
        self._operator = Operator(stores.control, config, clock, EventIds(clock))

    # ------------------------------------------------------------------------------------------------ experiments
    def experiments(self) -> list[dict[str, Any]]:
        """All experiments: running, ended, and configured but not started."""
        rows = {row.name: row for row in self.stores.control.experiments()}
        wrong = self._wrong(list(rows.values()))
        return [self._summary(name, rows.get(name), wrong) for name in sorted({*self.config.experiments, *rows})]

    def experiment(self, name: str) -> dict[str, Any]:
        """One experiment: definition, stages, the latest evaluation, decisions and findings."""
        row = self.stores.control.experiment(name)
        if row is None and name not in self.config.experiments:
            known = [one["name"] for one in self.experiments()]
            raise NotFoundError("no such experiment", got=name, field="experiment", hint=near(name, known),
                                expected="one of " + (", ".join(known) or "none configured"))
        control = self.stores.control
        looked = latest(control, name)
        return {
            **self._summary(name, row, self._wrong(control.experiments())),
            "definition": row.definition if row else frozen_definition(self.config, name),
            "stages": msgspec.to_builtins(control.stages(name)),
            "evaluation": msgspec.to_builtins(looked) if looked else None,
            "seals": msgspec.to_builtins(control.seals(name)),
            "decisions": msgspec.to_builtins(control.conclusions("decision", name, 50)),
            "findings": msgspec.to_builtins(control.conclusions("finding", f"experiment:{name}", 50)),
        }

    def _wrong(self, rows: list[ExperimentRow]) -> dict[str, dict[str, str]]:
        """Why experiments that run are not in the plan, and why they could not be judged, by name."""
        return {"unserved": unservable(self.config, rows), "unjudged": unjudgeable(self.stores.control, rows)}

    def _summary(self, name: str, row: ExperimentRow | None, wrong: dict[str, dict[str, str]]) -> dict[str, Any]:
        """`unserved` and `unjudged` are None where all is well, or nothing runs."""
        told = {what: by_name.get(name) for what, by_name in wrong.items()}
        if row is None:
            definition = self.config.experiments[name]
            return {"name": name, "surface": definition.surface, "candidate": definition.candidate, "stage": None,
                    "share": None, "held": False, "verdict": None, "started_at": None, "ended_at": None,
                    **told, "steps": list(steps(None))}
        return {"name": name, "surface": row.definition["surface"], "candidate": row.definition["candidate"],
                "stage": row.stage, "share": share_of(row), "held": row.held, "verdict": row.verdict,
                "started_at": row.started_at.isoformat(), "ended_at": row.ended_at and row.ended_at.isoformat(),
                **told, "steps": list(steps(row.stage, held=row.held))}

    def step(self, name: str, step: str, *, actor: str, reason: str,
             on_behalf_of: str | None = None) -> dict[str, Any]:
        """Take one step by hand (start, hold, resume, promote, discard, rollback); the Decision."""
        if step not in STEPS:
            raise DataError("no such step", got=step, expected="one of " + ", ".join(STEPS), field="step")
        decision = getattr(self._operator, STEPS[step])(name, actor=actor, reason=reason, on_behalf_of=on_behalf_of)
        taken: dict[str, Any] = msgspec.to_builtins(decision)
        return taken

    # ---------------------------------------------------------------------------------------------------- reading
    def report(self, days: int = 7) -> dict[str, Any]:
        """The latest numbers, each with n and interval, and how the service fares."""
        from incumbent.loop.report import report

        made: dict[str, Any] = msgspec.to_builtins(
            report(self.stores.control, self.config, self.clock.now(), days=days))
        return {**made, "health": self.health()}

    def metrics(self, surface: str | None = None, days: int = 7) -> list[dict[str, Any]]:
        """The tree of metrics of every surface, or of one, over its last whole days."""
        if surface is not None and surface not in self.config.surfaces:
            raise NotFoundError("no such surface", got=surface, field="surface", expected="one of " + (
                ", ".join(sorted(self.config.surfaces)) or "none configured"))
        names = sorted(self.config.surfaces) if surface is None else [surface]
        if self._metrics is None:
            from incumbent.loop.metrics.desk import Trees

            self._metrics = Trees(self.stores.lake, self.stores.control, self.config.metrics)
        made: list[dict[str, Any]] = msgspec.to_builtins([self._metrics.of(name, self.clock.now(), days)
                                                          for name in names], str_keys=True)
        return made

    def health(self) -> list[dict[str, Any]]:
        """How the service fares, ``{name, ok, text}``: its processes where some run here, and experiments that run
        without being served or judged."""
        told = self._pulse.health() if self._pulse is not None else []
        try:
            wrong = self._wrong(self.stores.control.experiments())
        except StoreError as error:
            return told or [{"name": "control", "ok": False, "text": str(error)}]
        said = {"unserved": "runs and is not served", "unjudged": "runs and cannot be judged"}
        return [*told, *({"name": "experiment", "ok": False, "text": f"{name} {said[what]}: {reason}"}
                         for what, by_name in wrong.items() for name, reason in by_name.items())]

    def live(self) -> dict[str, Any]:
        """What is counted just now, provisional: ``{tiles: [{key, label, text}], reason}``."""
        if self._pulse is None:
            return {"tiles": [], "reason": "no service runs here"}
        told = self._pulse.live()
        return {**told, "tiles": [*told["tiles"], *credit_tiles(self.stores.control)]}

    def conclusions(self, kind: str, subject: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Decisions, findings, alerts or audits, newest first."""
        found: list[dict[str, Any]] = msgspec.to_builtins(self.stores.control.conclusions(kind, subject, limit))
        return found

    # ------------------------------------------------------------------------------------------------------ drift
    def drift(self) -> dict[str, Any]:
        """How drift stands: the baseline in force, every monitor with its standing and its part of the budget."""
        from incumbent.loop.drift import status as drift_status

        found = drift_status.status(self.stores.control, self.config, self.clock.now(), made=self._watched)
        lake = self.stores.lake
        return {**found, "vectors": drift_status.ages(lake, self.clock.now()) if lake is not None else []}

    def drift_findings(self, monitor: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Findings of drift, newest first: of one monitor by its name, or of all, of the budget and of versions."""
        from incumbent.loop.drift.status import subjects

        control = self.stores.control
        asked = subjects(control) if monitor is None else [f"stream:{monitor}"]
        found = [one for subject in asked for one in self.conclusions("finding", subject, limit)]
        return sorted(found, key=lambda one: (str(one["time"]), one["event_id"]), reverse=True)[:limit]

    def drift_audit(self, name: str | None = None, version: int | None = None, *,
                    progress: Progress | None = None) -> dict[str, Any]:
        """A baseline replayed against itself: promised false alarms beside delivered ones."""
        from incumbent.loop.drift.audited import audited

        return audited(self.stores.control, self.config, name, version, progress)

    def baselines(self) -> list[dict[str, Any]]:
        """All baselines, by name and version."""
        from incumbent.loop.drift.status import listed

        return listed(self.stores.control)

    def baseline(self, name: str, version: int | None = None) -> dict[str, Any]:
        """One baseline with what it holds of every stream."""
        from incumbent.loop.drift.status import shown

        return shown(self.stores.control, name, version)

    def build_baseline(self, first: date, last: date, name: str, *, actor: str, reason: str,
                       leave_out_unstable: bool = False, on_behalf_of: str | None = None,
                       progress: Progress | None = None) -> dict[str, Any]:
        """A baseline of the days from `first` to `last`, both included, in the configured time zone."""
        from incumbent.loop.drift.build import BaselineBuilder, period_of

        built = BaselineBuilder(
            self.stores.lake, self.stores.control, self.clock, self.config, progress=progress).build(
            period_of(self.config.drift, first, last), name, actor=actor, reason=reason,
            leave_out_unstable=leave_out_unstable, on_behalf_of=on_behalf_of)
        return self.baseline(name, built.row.version)

    def pin_baseline(self, name: str, version: int | None = None, *, actor: str, reason: str,
                     on_behalf_of: str | None = None) -> dict[str, Any]:
        """Put a baseline in force, by hand and with a reason."""
        from incumbent.loop.drift import baselines

        control = self.stores.control
        chosen = baselines.find(control, name, version)
        baselines.pin(control, self.clock, EventIds(self.clock), chosen, actor=actor, reason=reason,
                      on_behalf_of=on_behalf_of)
        return self.baseline(name, chosen.row.version)

    def trace_request(self, request_id: str) -> dict[str, Any]:
        """One request with all that came of it."""
        from incumbent.loop.tracing.trace import trace_request

        return trace_request(self.stores.lake, self.stores.control, request_id, self.config)

    def trace_user(self, user_id: str) -> dict[str, Any]:
        """One shopper, by the id that the shop knows."""
        from incumbent.loop.tracing.trace import trace_user

        return trace_user(self.stores.lake, self._logged(user_id), self.clock, control=self.stores.control)

    def exclusions(self, user_id: str) -> dict[str, list[str]]:
        """What a shopper excludes: ``{items, categories, events}``."""
        return excluded_by(self.stores.control, self._logged(user_id))

    def exclude(self, user_id: str, *, item_id: str | None = None, category: str | None = None,
                event_id: str | None = None, excluded: bool = True) -> dict[str, list[str]]:
        """Exclude one of the three for a shopper, or take that back; what is excluded then."""
        chosen = kind_of(ExclusionRequest(user_id=user_id, item_id=item_id, category=category, event_id=event_id))
        if chosen is None:
            raise DataError("nothing is named", expected="one of item_id, category, event_id", field="item_id")
        kind, value = chosen
        self.stores.control.exclude(self._logged(user_id), value, self.clock.now(), excluded=excluded, kind=kind)
        return self.exclusions(user_id)

    def erase(self, user_id: str, *, actor: str, reason: str, on_behalf_of: str | None = None) -> dict[str, Any]:
        """Forget a shopper everywhere; what went, by place, and the audit row that stays."""
        from incumbent.loop.erase import Eraser

        eraser = Eraser(self.stores, self.clock, EventIds(self.clock), secret=signing_secret(self.config))
        erased: dict[str, Any] = msgspec.to_builtins(eraser.erase(
            self._logged(user_id), actor=actor, reason=reason, on_behalf_of=on_behalf_of))
        return erased

    def door(self) -> dict[str, Any]:
        """Data quality of what came in, on the last day that was judged, by check."""
        from incumbent.loop.door.report import door

        return door(self.stores.control)

    # ------------------------------------------------------------------------------------------------- quarantine
    def quarantine(self, chosen: dict[str, Any] | None = None, *, everything: bool = False) -> dict[str, Any]:
        """What was refused and waits: groups by reason, and the newest messages."""
        from incumbent.loop.door import quarantine

        return quarantine.listed(self.stores.lake, self.stores.control, self.clock.now(),
                                 _chosen({"limit": 100, **(chosen or {})}), everything=everything)

    def quarantined(self, event_id: str) -> dict[str, Any]:
        """One refused message as it came."""
        from incumbent.loop.door import quarantine

        return quarantine.shown(self.stores.lake, self.stores.control, event_id)

    def replay(self, chosen: dict[str, Any], *, actor: str, reason: str, fix: Any = None, dry_run: bool = False,
               on_behalf_of: str | None = None) -> dict[str, Any]:
        """Send mended messages in again. `fix`: a JSON Patch; from the command line also ``module:function``."""
        from incumbent.loop.door.mend import Door, fix_of
        from incumbent.loop.door.quarantine import Replayer

        secret = signing_secret(self.config)
        door = Door(self.config.limits, Signer(secret),
                    user_secret=secret if self.config.stores.user_ids == "hashed" else None)
        replayer = Replayer(self.stores.lake, self.stores.control, self.clock, EventIds(self.clock), door,
                            quarantine_days=self.config.stores.quarantine_days)
        done: dict[str, Any] = msgspec.to_builtins(replayer.replay(
            _chosen(chosen), actor=actor, reason=reason, fix=None if fix in (None, []) else fix_of(fix, Path.cwd()),
            told="none" if fix in (None, []) else fix if isinstance(fix, str) else msgspec.json.encode(fix).decode(),
            dry_run=dry_run, on_behalf_of=on_behalf_of))
        return done

    def plan(self, hash: str | None = None) -> dict[str, Any]:
        """The plan in force, or the one of a hash."""
        plan = self.stores.control.plan(hash)
        if plan is None:
            raise NotFoundError("no such plan", got=hash, hint="a gateway publishes one when it starts")
        return {"hash": plan.hash, **msgspec.to_builtins(plan)}

    def _logged(self, user_id: str) -> str:
        """The id under which a user is logged."""
        if not 1 <= len(user_id) <= 256:
            raise DataError("user id is not usable", got=user_id, expected="1 to 256 letters", field="user_id")
        hashed = self.config.stores.user_ids == "hashed"
        return hash_user(user_id, signing_secret(self.config)) if hashed else user_id


def _chosen(given: dict[str, Any]) -> Any:
    """A selection of quarantined messages; `DataError` with the field that cannot be."""
    from incumbent.loop.door.refused import Selection

    try:
        return msgspec.convert(given, Selection, strict=False)
    except msgspec.ValidationError as error:
        raise DataError("not a selection", got=given, hint=str(error)) from None
