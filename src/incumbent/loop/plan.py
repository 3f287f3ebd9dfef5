"""build_plan: the configuration and the experiments as they stand, as the one plan that gateways serve by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from incumbent import registry
from incumbent.config import Config, ExperimentConfig, ModelConfig, SurfaceConfig
from incumbent.events.plan import ExperimentPlan, ModelPlan, PinnedSlot, ServingPlan, SurfacePlan
from incumbent.experiments.experiment import lane_share_of
from incumbent.stores.store import ExperimentRow

#: verdicts after which shoppers see the champion alone, whatever the stage says
_CHAMPION_ONLY = frozenset({"discard", "roll_back", "inconclusive"})


def build_plan(
    config: Config, experiments: Iterable[ExperimentRow] = (), *, delisted: Iterable[str] = (),
    groups: Mapping[str, str] | None = None,
) -> ServingPlan:
    """The plan of a configuration and of the experiments in Control; `version` 0 and no time until it is published.

    An experiment is served by its frozen definition, with the share and the lane share of its stage: a share of 0 in
    shadow, of `back_test_share` once promoted. A held experiment keeps both. Ended, discarded, rolled back and
    inconclusive ones leave the champion alone. One that was promoted and then ended has made its candidate the
    champion, for as long as its section stands in the configuration: setting `champion` and removing the section
    settles it.

    Of several experiments on one surface the one that started first is served; none is whose candidate or surface is
    no longer configured, or whose policy nobody registers any more (`unservable` says why). `delisted` and `groups`
    add what Control knows to what is configured.
    Equal input gives an equal hash.

    >>> config = Config(models={"a": {"target": "m:a"}}, surfaces={"home": {"champion": "a"}})
    >>> build_plan(config).surfaces["home"].champion, build_plan(config).hash == build_plan(config).hash
    ('a', True)
    """
    chosen: dict[str, ExperimentPlan] = {}
    champions: dict[str, str] = {}
    for row in sorted(experiments, key=lambda r: (r.started_at, r.name)):
        definition = _definition(row)
        if _has_won(config, row, definition):
            champions[definition.surface] = definition.candidate
        if _reason(config, row, definition) is None and definition.surface not in chosen:
            share = share_of(row)
            if share is not None:
                chosen[definition.surface] = _experiment(config, row, definition, share)
    return ServingPlan(
        version=0, time=None,
        surfaces={name: _surface(name, surface, champions.get(name, surface.champion), chosen.get(name))
                  for name, surface in config.surfaces.items()},
        models={name: _model(name, model) for name, model in config.models.items()},
        delisted=sorted({*config.delisted, *delisted}),
        groups={**config.groups, **(groups or {})},
        presentations=config.presentations,
    )


def share_of(row: ExperimentRow) -> float | None:
    """The candidate's share that an experiment is served with now; None where the champion stands alone."""
    if row.ended_at is not None or row.stage == "ended" or row.verdict in _CHAMPION_ONLY:
        return None
    definition = _definition(row)
    if row.stage == "promoted":
        return definition.back_test_share
    return next((stage.share for stage in definition.stages if stage.stage == row.stage), None)


def unservable(config: Config, experiments: Iterable[ExperimentRow]) -> dict[str, str]:
    """Why running experiments are not in the plan, by name: to be shown and logged, never to stop serving."""
    reasons: dict[str, str] = {}
    taken: dict[str, str] = {}
    for row in sorted(experiments, key=lambda r: (r.started_at, r.name)):
        definition = _definition(row)
        if share_of(row) is None:
            if row.ended_at is None and row.stage != "ended" and row.verdict not in _CHAMPION_ONLY:
                reasons[row.name] = f"its stage {row.stage!r} is not among its stages"
            continue
        reason = _reason(config, row, definition)
        if reason is None and definition.surface in taken:
            reason = f"surface {definition.surface!r} is taken by experiment {taken[definition.surface]!r}"
        if reason is None:
            taken[definition.surface] = row.name
        else:
            reasons[row.name] = reason
    return reasons


def _has_won(config: Config, row: ExperimentRow, definition: ExperimentConfig) -> bool:
    """Promoted, back-tested and ended, and not yet settled in the configuration."""
    return (row.stage == "ended" and row.verdict == "promote" and row.name in config.experiments
            and definition.surface in config.surfaces and definition.candidate in config.models)


def _reason(config: Config, row: ExperimentRow, definition: ExperimentConfig) -> str | None:
    if definition.surface not in config.surfaces:
        return f"surface {definition.surface!r} is no longer configured"
    if definition.candidate not in config.models:
        return f"candidate {definition.candidate!r} is no longer configured"
    if definition.policy not in registry.names("policies"):
        return f"no policy {definition.policy!r} is registered"
    if config.surfaces[definition.surface].champion == definition.candidate:
        return f"candidate {definition.candidate!r} is now the champion of surface {definition.surface!r}"
    return None


def _definition(row: ExperimentRow) -> ExperimentConfig:
    return ExperimentConfig.model_validate(row.definition)


def _experiment(config: Config, row: ExperimentRow, definition: ExperimentConfig, share: float) -> ExperimentPlan:
    return ExperimentPlan(
        name=row.name, candidate=definition.candidate, salt=definition.salt or row.name,
        stage=row.stage, share=share, policy=definition.policy, holdout=definition.holdout,  # type: ignore[arg-type]
        lane_share=lane_share_of(definition, row.stage),
        segment={key: list(v) for key, v in sorted(definition.segment.items())}, coin=definition.coin,
        bots={key: list(patterns) for key, patterns in sorted(config.limits.bots.items())},
    )


def _fields(part: ModelConfig | SurfaceConfig, leave: set[str]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value
            for key, value in part if key not in leave}


def _model(name: str, model: ModelConfig) -> ModelPlan:
    return ModelPlan(name=name, **_fields(model, set()))


def _surface(name: str, surface: SurfaceConfig, champion: str, experiment: ExperimentPlan | None) -> SurfacePlan:
    if experiment is not None and experiment.candidate == champion:
        experiment = None
    pinned = [PinnedSlot(p.position, p.item_id, p.sponsored) for p in surface.pinned]
    return SurfacePlan(name=name, champion=champion, experiment=experiment, pinned=pinned,
                       **_fields(surface, {"pinned", "champion"}))
