"""A bar on standard error for work of more than two seconds; nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from incumbent.clock import Clock, SystemClock

AFTER_S = 2.0
Step = Callable[[str, int, int | None], None]


@contextmanager
def bar(clock: Clock | None = None, stream: Any = None) -> Iterator[Step]:
    """Yield ``step(what, done, total)``: draws once two seconds have passed, where the stream is a terminal.

    >>> with bar() as step:
    ...     step("reading", 5, None)
    """
    out = sys.stderr if stream is None else stream
    if not getattr(out, "isatty", lambda: False)():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    clock = clock or SystemClock()
    began, shown = clock.monotonic(), Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(file=out), transient=True)
    tasks: dict[str, Any] = {}

    def step(what: str, done: int, total: int | None) -> None:
        if not tasks and clock.monotonic() - began < AFTER_S:
            return
        if what not in tasks:
            shown.start()
            for earlier in tasks.values():  # one line, that of what is being done
                shown.update(earlier, visible=False)
            tasks[what] = shown.add_task(what, total=total)
        shown.update(tasks[what], completed=done, total=total, visible=True)

    try:
        yield step
    finally:
        shown.stop()
