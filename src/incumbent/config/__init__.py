"""The frozen configuration tree, from ``incumbent.toml`` and the environment (``INCUMBENT_SERVICE__PORT=8001``).

Everything is validated at once: every mistake with its key path, an unknown key with the nearest known one.
"""

from __future__ import annotations

import os
import tomllib
from math import ceil
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError
from pydantic_settings.sources import InitSettingsSource

from incumbent.config import mistakes, names
from incumbent.config.door import DoorConfig
from incumbent.config.metrics import MetricsConfig
from incumbent.config.sections import (
    DEFAULT_GUARDRAILS,
    DEFAULT_STAGES,
    DriftConfig,
    DriftMonitor,
    ExperimentConfig,
    GuardrailConfig,
    LimitsConfig,
    LoopConfig,
    ModelConfig,
    Name,
    PinnedConfig,
    ServiceConfig,
    StageConfig,
    StoresConfig,
    SurfaceConfig,
)
from incumbent.config.text import TextConfig
from incumbent.errors import ConfigError, shorten

__all__ = [
    "DEFAULT_GUARDRAILS", "DEFAULT_STAGES", "Config", "DoorConfig", "DriftConfig", "ExperimentConfig",
    "GuardrailConfig", "LimitsConfig", "LoopConfig", "MetricsConfig", "ModelConfig", "PinnedConfig", "ServiceConfig",
    "StageConfig", "StoresConfig", "SurfaceConfig", "TextConfig", "frozen_definition", "load", "parse",
]

PREFIX = "INCUMBENT_"  # of the variables that override a key


class Config(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", validate_default=True,
    )

    service: ServiceConfig = ServiceConfig()
    stores: StoresConfig = StoresConfig()
    loop: LoopConfig = LoopConfig()
    limits: LimitsConfig = LimitsConfig()
    drift: DriftConfig = DriftConfig()
    metrics: MetricsConfig = MetricsConfig()
    door: DoorConfig = DoorConfig()
    text: TextConfig = TextConfig()
    models: dict[Name, ModelConfig] = {}
    surfaces: dict[Name, SurfaceConfig] = {}
    experiments: dict[Name, ExperimentConfig] = {}
    delisted: tuple[str, ...] = ()  # items that are never shown
    groups: dict[str, str] = {}  # item_id -> group_id of its variants
    presentations: dict[str, str] = {}  # item_id -> hash of its look; variants of one group that look alike are one

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(init_settings, InitSettingsSource)
        return env_settings, init_settings  # the environment wins over the file, which arrives as init values

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, tree: Any, validate: ModelWrapValidatorHandler[Config]) -> Config:
        """All mistakes together: those of single values, and those that only show across sections."""
        if not isinstance(tree, dict):
            return validate(tree)
        config, found = mistakes.collect(tree, validate, cls)
        if config is not None:
            across = (line for line in [*config._name_problems(tree), *config._unknown(),
                                         *config._experiment_problems(), *config._drift_problems()]
                      if not mistakes.under(line.partition(":")[0], found))
            found = {**found, **{line: line for line in across}}
        if found:
            raise ValueError("\x1e".join(found.values()))
        assert isinstance(config, Config)
        return config

    def _name_problems(self, tree: dict[str, Any]) -> list[str]:
        """Names that refer to nothing; one whose own section is wrong is known all the same."""
        models, surfaces = ({*known, *(tree.get(key) or ())} for key, known in (
            ("models", self.models), ("surfaces", self.surfaces)))
        wanted: list[tuple[str, str, set[str]]] = [
            (f"surfaces.{n}.champion", s.champion, models) for n, s in self.surfaces.items()
        ]
        wanted += [(f"metrics.gates.{name}", name, surfaces) for name in self.metrics.gates]
        for name, experiment in self.experiments.items():
            wanted.append((f"experiments.{name}.surface", experiment.surface, surfaces))
            wanted.append((f"experiments.{name}.candidate", experiment.candidate, models))
        problems = [mistakes.not_configured(path, got, known) for path, got, known in wanted if got not in known]
        if self.service.clock == "replay" and self.service.replay_start is None:
            problems.append("service.replay_start: needed under clock = \"replay\". Expected a time with a zone.")
        return problems

    def _unknown(self) -> list[str]:
        """Plugins, functions and currencies that there are none of, keys that are no hashes, pins that contradict."""
        return [*names.keys("service.keys", self.service.keys),
                *names.registered("stores.kind", "stores", self.stores.kind), *names.of_models(self.models),
                *names.of_surfaces(self.surfaces), *names.of_experiments(self.experiments),
                *names.currency("metrics.currency", self.metrics.currency), *names.cuts("metrics", self.metrics),
                *names.scorers("text.scorers", self.text.scorers)]

    def _experiment_problems(self) -> list[str]:
        problems = []
        for name, experiment in self.experiments.items():
            path = f"experiments.{name}"
            surface = self.surfaces.get(experiment.surface)
            if surface is not None and surface.champion == experiment.candidate:
                problems.append(f"{path}.candidate: is the champion itself. Got {experiment.candidate!r}.")
            if experiment.maturity_window_days < experiment.attribution_window_days:
                problems.append(f"{path}.maturity_window_days: shorter than the attribution window. Got "
                                f"{experiment.maturity_window_days:g}. Expected >= "
                                f"{experiment.attribution_window_days:g}.")
            problems += self._stage_problems(path, experiment)
            problems += self._judging_problems(path, experiment)
            needed = ceil(2 * experiment.attribution_window_days + experiment.maturity_window_days) \
                + self.limits.event_age_days
            if self.stores.retention_days < needed:
                problems.append(f"stores.retention_days: shorter than {path} needs to credit and mature. Got "
                                f"{self.stores.retention_days}. Expected >= {needed}: two attribution windows, a "
                                "maturity window and limits.event_age_days.")
            if experiment.holdout == 0 and any(
                    g.metric.endswith("user_day") and g.required for g in experiment.guardrails):
                problems.append(f"{path}.holdout: 0 leaves guardrails against the holdout without a comparison. "
                                "Hint: set holdout = 0.1, or required = false on them.")
        return problems

    def _drift_problems(self) -> list[str]:
        """A time zone that is none, a cycle finer than the windows, events that end before they start, nothing on."""
        drift, problems = self.drift, []
        try:
            ZoneInfo(drift.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(f"drift.time_zone: no such time zone. Got {shorten(drift.time_zone)}. Expected a name such "
                            "as Europe/Berlin.")
        if drift.window == "day" and drift.season in ("hour_of_day", "hour_of_week"):
            problems.append(f"drift.season: days have no hours to match. Got {drift.season}. Expected auto, none or "
                            "day_of_week.")
        if drift.window == "hour" and drift.season == "day_of_week":
            problems.append("drift.season: hours of a whole day do not match. Got day_of_week. Expected auto, none, "
                            "hour_of_day or hour_of_week.")
        problems += [f"drift.events.{n}.end: not after the start. Got {event.end.isoformat()}."
                     for n, event in enumerate(drift.events) if event.end <= event.start]
        if drift.keep_days <= drift.conversion_days:
            problems.append(f"drift.keep_days: shorter than purchases are waited for. Got {drift.keep_days}. Expected "
                            f"> {drift.conversion_days}, drift.conversion_days.")
        if drift.enabled and not any(drift.monitor(name).on for name in get_args(DriftMonitor)):
            problems.append("drift.monitors: every monitor is off. Hint: drift.enabled = false turns drift off.")
        return problems

    @staticmethod
    def _judging_problems(path: str, experiment: ExperimentConfig) -> list[str]:
        """Money without a currency, limits on what has none."""
        problems = []
        if experiment.outcome == "value" and experiment.currency is None:
            problems.append(f"{path}.currency: needed under outcome = \"value\", whose credit is money of one "
                            "currency. Got none. Hint: currency = \"EUR\".")
        problems += [f"{path}.guardrails.{n}.slow_ms: belongs to latency_p95 and latency_p99. Got {part.metric}."
                     for n, part in enumerate(experiment.guardrails)
                     if part.slow_ms is not None and part.metric not in ("latency_p95", "latency_p99")]
        return problems

    @staticmethod
    def _stage_problems(path: str, experiment: ExperimentConfig) -> list[str]:
        """The rungs of a ramp: in order, none twice, no share falling, and nothing shown in the shadow."""
        order = list(get_args(StageConfig.model_fields["stage"].annotation))
        names = [stage.stage for stage in experiment.stages]
        problems = []
        if not names or [stage.share for stage in experiment.stages] != sorted(s.share for s in experiment.stages):
            problems.append(f"{path}.stages: shares must not fall along the ramp.")
        lanes = [experiment.lane_share if one.lane_share is None else one.lane_share for one in experiment.stages]
        if lanes != sorted(lanes):
            told = ", ".join(f"{name} {lane:g}" for name, lane in zip(names, lanes, strict=True))
            problems.append(f"{path}.stages: lane_share must not fall along the ramp: nobody leaves the interleave "
                            f"lane. Got {told}. Hint: where it is not set it is {path}.lane_share; set it in the "
                            "stages before as well.")
        if [order.index(name) for name in names] != sorted({order.index(name) for name in names}):
            problems.append(f"{path}.stages: each stage at most once, in the order {', '.join(order)}. "
                            f"Got {', '.join(names)}.")
        if any(stage.stage == "shadow" and stage.share > 0 for stage in experiment.stages):
            problems.append(f"{path}.stages: the candidate is not shown in shadow. Expected share = 0.")
        return problems


def load(path: str | Path | None = None, overrides: dict[str, Any] | None = None) -> Config:
    """The configuration of a TOML file (``incumbent.toml``), the environment on top; all mistakes in one `ConfigError`.

    >>> load(overrides={"service": {"prot": 1}})
    Traceback (most recent call last):
    ...
    incumbent.errors.ConfigError: the configuration has 1 mistake.
      - service.prot: unknown key. Hint: did you mean 'port'?
    """
    data: dict[str, Any] = {}
    if path is not None:
        file = Path(path)
        text = ""
        try:
            text = file.read_text(encoding="utf-8")
            data = tomllib.loads(text)
        except OSError as error:
            raise ConfigError("configuration file cannot be read", got=str(file), hint=str(error.strerror)) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError("configuration file is not TOML", got=str(file),
                              hint=mistakes.not_toml(str(error), text)) from None
    return parse(_merge(data, overrides or {}))


def parse(data: dict[str, Any]) -> Config:
    """The configuration of a plain tree, the environment on top."""
    problems = mistakes.stray_variables(os.environ, PREFIX, Config.model_fields)
    config = None
    try:
        config = Config(**data)
    except ValidationError as error:
        problems += [line for item in error.errors() for line in str(item["ctx"]["error"]).split("\x1e")]
    except SettingsError as error:
        problems.append(f"environment: {error}. Hint: a section in one variable is JSON; SECTION__KEY sets one key.")
    if config is None or problems:
        many = "mistakes" if len(problems) > 1 else "mistake"
        raise ConfigError(f"the configuration has {len(problems)} {many}", problems=tuple(problems))
    return config


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        out[key] = _merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def frozen_definition(config: Config, experiment: str) -> dict[str, Any]:
    """An experiment's configuration as plain JSON values, for Control to keep from its start on."""
    return config.experiments[experiment].model_dump(mode="json")
