"""`incumbent config check`."""

from __future__ import annotations

from incumbent.commands.codes import LOCAL
from incumbent.config import Config
from incumbent.errors import ConfigError


def summary(config: Config) -> str:
    """What a sound configuration says, in a few lines; `ConfigError` or `NotFoundError` for metrics that are none.

    Of metrics, scorers and gate files only where they are measured: a gateway's install has none of them. One whose own
    import fails is a `ConfigError`, and so is a gate with mistakes.
    """
    try:
        from incumbent.loop.metrics.set import check

        check(config.metrics)
        _check_scorers(config)
        _check_gates(config)
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) or error.name not in LOCAL:
            raise ConfigError("a metric cannot be imported", got=str(error), field="metrics",
                              hint="install what its module imports, beside incumbent") from error
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


def _check_scorers(config: Config) -> None:
    from incumbent.metrics.scorer import scorer_of

    for n, name in enumerate(config.text.scorers):
        try:
            scorer_of(name)
        except ImportError as error:
            raise ConfigError("the scorer cannot be imported", got=str(error), field=f"text.scorers.{n}",
                              hint="install what its module imports, beside incumbent") from error


def _check_gates(config: Config) -> None:
    from incumbent.metrics.expectation_file import read_gate

    for path in config.metrics.gates.values():
        read_gate(path)
