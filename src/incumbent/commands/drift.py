"""`incumbent drift ...`: the group, and what it says of a deployment."""

from __future__ import annotations

import typer

from incumbent.commands.drift_compare import compare

drift = typer.Typer(no_args_is_help=True, help="Drift of embeddings, items, inputs and outcomes.")


@drift.callback()
def group() -> None:
    """Drift of embeddings, items, inputs and outcomes."""


drift.command("compare")(compare)
