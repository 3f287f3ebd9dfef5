"""A surface made ready: all that a request needs of a plan and that does not depend on the request."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from incumbent import registry
from incumbent.errors import ConfigError
from incumbent.events.plan import ExperimentPlan, PinnedSlot, ServingPlan, SurfacePlan
from incumbent.events.schema import Role
from incumbent.experiments.lists import Ranked, clean, look_alikes
from incumbent.experiments.policy import Policy
from incumbent.models.guard import Guarded


class Surface:
    """One surface of one plan, with its models, its policy and its sets.

    `delisted` are those of the plan in force, also where the plan itself is an older one that a cursor names.
    """

    __slots__ = ("delisted", "experiment", "fallback", "groups", "guards", "hidden", "keys", "name", "pinned", "plan",
                 "plan_hash", "policy", "roles", "shows_candidate")

    def __init__(
        self, plan: SurfacePlan, plan_hash: str, guards: Mapping[str, Guarded], delisted: AbstractSet[str],
        groups: dict[str, str] | None, keys: dict[str, str] | None,
    ) -> None:
        experiment = plan.experiment if plan.experiment is not None and plan.experiment.stage != "ended" else None
        self.name, self.plan, self.plan_hash, self.experiment = plan.name, plan, plan_hash, experiment
        self.policy = _policy(experiment)
        self.shows_candidate = experiment is not None and experiment.stage != "shadow" and experiment.share > 0
        names = [plan.champion] if experiment is None else [plan.champion, experiment.candidate]
        missing = [name for name in names if name not in guards]
        if missing:
            raise ConfigError(f"surface {plan.name!r} names a model that is not running", got=missing[0],
                              expected="one of " + ", ".join(sorted(guards)))
        self.guards = tuple(guards[name] for name in names)
        self.roles: tuple[Role, ...] = ("champion", "candidate")[: len(names)]  # type: ignore[assignment]
        self.delisted = delisted
        self.pinned = _pinned(plan.pinned, delisted)
        pinned_ids = frozenset(pin.item_id for pin in self.pinned.values())
        self.hidden: dict[str, AbstractSet[str]] = {
            name: items for name, items in (("pinned", pinned_ids), ("delisted", delisted)) if items}
        self.groups, self.keys = groups, keys
        self.fallback: Ranked = clean(plan.fallback, None, self.hidden).items

    def experiment_over(self, now: Surface) -> bool:
        """True where the surface as it is now no longer runs this one's experiment, or no longer shows its candidate:
        rolled back, discarded or ended, it leaves open rankings too."""
        if self.experiment is None:
            return False
        return (now.experiment is None or now.experiment.name != self.experiment.name
                or (self.shows_candidate and not now.shows_candidate))


def _policy(experiment: ExperimentPlan | None) -> Policy | None:
    if experiment is None:
        return None
    policy: Policy = registry.load("policies", experiment.policy)(coin=experiment.coin)
    return policy


def _pinned(pins: list[PinnedSlot], delisted: AbstractSet[str]) -> dict[int, PinnedSlot]:
    """Pins by position: of two on one position, and of one item on two, the first in the plan counts."""
    by_position: dict[int, PinnedSlot] = {}
    seen: set[str] = set()
    for pin in pins:
        if pin.position not in by_position and pin.item_id not in seen and pin.item_id not in delisted:
            by_position[pin.position] = pin
            seen.add(pin.item_id)
    return by_position


def make_ready(
    plan: ServingPlan, plan_hash: str, guards: Mapping[str, Guarded], delisted: AbstractSet[str],
) -> dict[str, Surface]:
    """All surfaces of a plan; `ConfigError` where a model is missing, `NotFoundError` for an unknown policy."""
    groups, keys = plan.groups or None, look_alikes(plan.groups, plan.presentations) or None
    return {name: Surface(surface, plan_hash, guards, delisted, groups, keys)
            for name, surface in plan.surfaces.items()}
