"""A table for a person or a pipe: as wide as what is in it, or a block per row where the terminal is narrower."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table

ANY = 100_000  # a width that nothing fills


def show(head: Sequence[str], rows: Sequence[Sequence[str]], console: Console | None = None) -> None:
    """Print rows below their heads.

    Nothing is cut off: where standard output is no terminal a row is one line, however long; where a terminal is too
    narrow the first column is a line of its own, and the others stand below it by name.
    """
    console = Console(highlight=False, markup=False) if console is None else console
    table = Table(*(Column(name, no_wrap=True) for name in head), box=None)
    for row in rows:
        table.add_row(*row)
    wide = Console(width=ANY, file=console.file, markup=False)
    width = wide.measure(table).maximum
    if console.is_terminal and width > console.width:
        _blocks(head, rows, console)
        return
    console.width = max(width, console.width)
    with console.capture() as made:
        console.print(table)
    console.file.write("".join(f"{line.rstrip()}\n" for line in made.get().splitlines()))


def _blocks(head: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    for row in rows:
        said = "; ".join(f"{name}: {value}" if name else value
                         for name, value in zip(head[1:], row[1:], strict=True) if value)
        lines = textwrap.wrap(said, console.width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        console.file.write("\n".join([row[0], *lines]) + "\n")
