"""`incumbent config check`."""

from __future__ import annotations

from contextlib import suppress

from incumbent.config import Config


def summary(config: Config) -> str:
    """What a sound configuration says, in a few lines; `ConfigError` or `NotFoundError` for metrics that are none.

    Of metrics only where they are measured: a gateway's install has none of them.
    """
    with suppress(ModuleNotFoundError):
        from incumbent.loop.metrics.set import check

        check(config.metrics)
    lines = ["the configuration is sound"]
    for name, surface in sorted(config.surfaces.items()):
        lines.append(f"  surface {name}: champion {surface.champion}, {surface.deadline_ms} ms")
    for name, model in sorted(config.models.items()):
        lines.append(f"  model {name}: {model.adapter} {model.target}, version {model.version}")
    for name, experiment in sorted(config.experiments.items()):
        lines.append(f"  experiment {name}: {experiment.candidate} against the champion of {experiment.surface}, "
                     f"alpha {experiment.alpha:g}")
    lines.append(f"  data in {config.stores.directory}, {config.stores.durability}")
    return "\n".join(lines)
