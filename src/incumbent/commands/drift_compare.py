"""`incumbent drift compare`: two data sets, column by column."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from incumbent.commands.codes import comparison_code, local_parts
from incumbent.commands.options import Json
from incumbent.errors import ConfigError


def compare(
    baseline: Annotated[str, typer.Argument(help="Parquet (a file or a folder), CSV, .npy or .npz.")],
    current: Annotated[str, typer.Argument(help="The same columns, later.")],
    time: Annotated[str | None, typer.Option(help="Column that cuts windows; without it rows are the null.")] = None,
    every: Annotated[str, typer.Option(help="hour, day or week.")] = "day",
    alpha: Annotated[float, typer.Option(help="Chance of any alarm, over all columns, without drift.")] = 0.05,
    tail: Annotated[str | None, typer.Option(help="Extrapolate p-values: student or pareto. Labelled.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="Compare these alone; repeatable.")] = None,
    statistic: Annotated[list[str] | None, typer.Option(help="Judge by these alone, and keep no more than they need; "
                                                        "repeatable.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Leave these out; repeatable.")] = None,
    id: Annotated[list[str] | None, typer.Option(help="Ids, though they are numbers; repeatable.")] = None,
    item: Annotated[str | None, typer.Option(help="The column of item ids, for explanations.")] = None,
    title: Annotated[str | None, typer.Option(help="The column of item titles.")] = None,
    category: Annotated[str | None, typer.Option(help="The column of item categories.")] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Tell these apart; repeatable.")] = None,
    versions: Annotated[bool, typer.Option("--versions", help="Vectors of two versions; pairs by --item.")] = False,
    seed: Annotated[int, typer.Option(help="Of what is drawn: random parts, random features.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write the report, one HTML file.")] = None,
    as_json: Json = False,
) -> None:
    """Compare two data sets: vectors, numbers and ids, against the baseline's own windows.

    Ends with 0 where nothing drifted, 1 where a column did, 2 for bad input (also a column that cannot be compared),
    5 where nothing could be judged.
    """
    with local_parts("a comparison"):
        from incumbent.dashboard.comparison import compare as run

        found = run(baseline, current, time=time, every=every, alpha=alpha, tail=tail, columns=_some(column),
                    statistics=_some(statistic),
                    ignore=_some(ignore) or (), ids=_some(id) or (), item=item, title=title, category=category,
                    segments=_some(segment) or (), versions=versions, seed=seed)
        page = None if html is None else found.to_html()
    typer.echo(found.to_json(indent=2) if as_json else found.text())
    if html is not None and page is not None:
        try:
            html.write_text(page, encoding="utf-8")
        except OSError as error:
            raise ConfigError("the report cannot be written", got=str(html), hint=error.strerror,
                              field="html") from None
        typer.echo(f"wrote {html}", err=True)
    raise typer.Exit(comparison_code(found.status))


def _some(names: list[str] | None) -> Any:
    return tuple(names) if names else None
