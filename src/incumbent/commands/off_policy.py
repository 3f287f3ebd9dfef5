"""`incumbent evaluate --off-policy`: what an interleaved period says of each of the two models alone."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from incumbent.commands.codes import REFUSED, local_parts
from incumbent.commands.common import configured, stores
from incumbent.commands.evaluate import surface_of
from incumbent.errors import ConfigError, DataError

if TYPE_CHECKING:
    from incumbent.metrics.offline import OffPolicy

UNIT = "acted on/contested slot"
_SAID = {0.0: "champion alone", 1.0: "candidate alone"}


def show(
    *, data: str | None, share: float | None, experiment: str | None, surface: str | None, config: Path | None,
    directory: Path | None, as_json: bool,
) -> int:
    """Print the estimates for a share, or for both models alone; 0, or `REFUSED` where there is none for any."""
    with local_parts("an evaluation"):
        from incumbent.loop.evaluation.held_out import period_of
        from incumbent.loop.evaluation.off_policy import contested
        from incumbent.loop.left_out import excluded_events
    if data is None:
        raise ConfigError("nothing says the data", expected="a period", hint="--data 2026-03-01..2026-03-07")
    period = period_of(data)
    if period is None:
        raise DataError("off-policy evaluation reads the log", got=data, expected="a period", field="--data",
                        hint="for a file of your own: incumbent.metrics.offline.off_policy")
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
        typer.echo(f"{found.experiment}, {found.period.start:%Y-%m-%d} to {last:%Y-%m-%d}: " + ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in found.counts.items()))
        for one, made in done.items():
            typer.echo("\n".join(_lines(_SAID.get(one, f"share {one:g}"), made)))
    return REFUSED if all(made.refused for made in done.values()) else 0


def _plain(made: OffPolicy) -> dict[str, Any]:
    return {"refused": made.refused, "effective_rows": made.state.effective_rows,
            "effective_users": made.state.effective_users, "largest_share": made.largest_share,
            "estimates": {name: one.to_dict() for name, one in made.estimates(unit=UNIT).items()}}


def _lines(title: str, made: OffPolicy) -> list[str]:
    from incumbent.metrics.expectation import say

    head = (f"{title}: effective sample {made.state.effective_rows:,.0f} of {made.state.n:,} slots, "
            f"{made.state.effective_users:,.0f} of {made.counts['users']:,} users")
    if made.refused is not None:
        return [head, f"  refused: {made.refused}"]
    shown = made.estimates(unit=UNIT)
    return [head, *(f"  {name:13} {say(shown[name])}" for name in (
        "doubly_robust", "snips", "ips", "gain", "on_policy", "mean_weight"))]
