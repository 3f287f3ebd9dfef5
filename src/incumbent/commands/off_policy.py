"""`incumbent evaluate --off-policy`: what an interleaved period says of each of the two models alone."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from incumbent.clock import SystemClock
from incumbent.commands.codes import REFUSED, local_parts
from incumbent.commands.common import configured, stores
from incumbent.commands.evaluate import configuration, ids_of_the_shop, is_target, model_plan, surface_of
from incumbent.errors import ConfigError, DataError

if TYPE_CHECKING:
    from incumbent.metrics.offline import OffPolicy

SLOT, ACTION = "acted on/contested slot", "reward/action"  # units
_SAID = {0.0: "champion alone", 1.0: "candidate alone"}


def show(
    *, data: str | None, share: float | None, experiment: str | None, surface: str | None, config: Path | None,
    directory: Path | None, as_json: bool, candidate: str | None = None,
) -> int:
    """Print the estimates for a share, for both models alone, or for a `candidate` that was never served; 0, or `REFUSED`
    where there is none for any."""  # noqa: E501
    with local_parts("an evaluation"):
        from incumbent.loop.evaluation.held_out import period_of
        from incumbent.loop.evaluation.off_policy import contested
        from incumbent.loop.left_out import excluded_events
    if data is None:
        raise ConfigError("nothing says the data", expected="a period", hint="--data 2026-03-01..2026-03-07")
    period = period_of(data)
    if candidate is not None:
        if share is not None:
            raise ConfigError("a share is of the experiment's own candidate", got=f"--share {share:g}",
                              expected="--share or --candidate")
        return _unserved(candidate, data, period, experiment, surface, config, directory, as_json)
    if period is None:
        raise DataError("off-policy evaluation reads the log", got=data, expected="a period, or --candidate MODEL",
                        field="--data", hint="for a policy of your own: incumbent.metrics.offline.off_policy")
    loaded = configured(config, directory=directory)
    with stores(loaded) as held:
        found = contested(held.lake, period, surface=surface_of(loaded, surface), experiment=experiment,
                          left_out=excluded_events(held.control))
    done = {one: found.at(one) for one in ([share] if share is not None else sorted(_SAID))}
    last = found.period.end - timedelta(days=1)
    if as_json:
        typer.echo(json.dumps({"experiment": found.experiment, "since": str(found.period.start.date()),
                               "until": str(last.date()), "counts": found.counts,
                               "shares": {f"{one:g}": _plain(made) for one, made in done.items()}}, indent=2))
    else:
        typer.echo(f"{found.experiment}, {found.period.start:%Y-%m-%d} to {last:%Y-%m-%d}: {_counted(found.counts)}")
        for one, made in done.items():
            typer.echo("\n".join(_lines(_SAID.get(one, f"share {one:g}"), made)))
    return REFUSED if all(made.refused for made in done.values()) else 0


def _unserved(candidate: str, data: str, period: Any, experiment: str | None, surface: str | None,
              config: Path | None, directory: Path | None, as_json: bool) -> int:
    from incumbent.loop.evaluation.off_policy_model import depth, of_file, of_model, of_period
    from incumbent.loop.left_out import Standing

    loaded = configuration(config, directory, period is not None or not is_target(candidate))
    sys.path.insert(0, str(Path.cwd()))
    plan = model_plan(candidate, loaded)
    if period is None:
        logged = of_file(data)
    else:
        assert loaded is not None
        ids_of_the_shop(loaded)
        with stores(loaded) as held:
            logged = of_period(held.lake, period, surface=surface_of(loaded, surface), experiment=experiment,
                               excluded=Standing.of(held.control))
    made, met = of_model(logged, plan, SystemClock(), k=depth(logged))
    if as_json:
        typer.echo(json.dumps({"source": logged.source, "candidate": candidate, "counts": {**logged.counts, **met},
                               "support": made.state.support, **_plain(made, ACTION)}, indent=2))
    else:
        typer.echo(f"{logged.source}: {_counted({**logged.counts, **met})}")
        typer.echo("\n".join(_lines(f"{candidate}, never served", made, f"support {made.state.support:.0%}, ", ACTION)))
    return REFUSED if made.refused else 0


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())


def _plain(made: OffPolicy, unit: str = SLOT) -> dict[str, Any]:
    return {"refused": made.refused, "effective_rows": made.state.effective_rows,
            "effective_users": made.state.effective_users, "largest_share": made.largest_share,
            "estimates": {name: one.to_dict() for name, one in made.estimates(unit=unit).items()}}


def _lines(title: str, made: OffPolicy, more: str = "", unit: str = SLOT) -> list[str]:
    from incumbent.metrics.expectation import say

    head = (f"{title}: {more}effective sample {made.state.effective_rows:,.0f} of {made.state.n:,} slots, "
            f"{made.state.effective_users:,.0f} of {made.counts['users']:,} users")
    if made.refused is not None:
        return [head, f"  refused: {made.refused}"]
    shown = made.estimates(unit=unit)
    return [head, *(f"  {name:13} {say(shown[name])}" for name in (
        "doubly_robust", "snips", "ips", "gain", "on_policy", "mean_weight"))]
