"""`incumbent demo`: data, models, service, shoppers, verdict."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.demo import acks, books, child, telling
from incumbent.demo.books import Books
from incumbent.demo.data import SPLIT, campaigns
from incumbent.demo.prepare import Run, prepare
from incumbent.demo.replay import Replay
from incumbent.demo.settings import BASELINE_DAYS, Size, default_size, refused
from incumbent.demo.shoppers import Shoppers
from incumbent.demo.story import STORIES, Story
from incumbent.demo.watched import Watched, build_baseline, watched
from incumbent.demo.wire import Wire
from incumbent.errors import DataError
from incumbent.loop.decide import latest
from incumbent.service.desk import Desk
from incumbent.service.parts import clock_of, open_stores
from incumbent.stores.store import Control, ExperimentRow, Stores

#: gateways look for a new plan at least once a second: a model day that follows a change of stage waits for them
PLAN_S = 1.2


def main(
    candidate: str = "cf", shoppers: int | None = None, seed: int = 1, port: int = 8000,
    directory: str | Path = "incumbent-demo", leave: bool = False, as_json: bool = False, *, size: Size | None = None,
) -> int:
    """Run the demo; the exit code: 0 where the books balance, 1 where something was lost or counted twice.

    `leave` ends after the verdict; otherwise the page stays open until Ctrl-C. `as_json` prints one JSON object
    (`Books`, `Watched`) to standard output and nothing else. Progress goes to standard error where that is a terminal.
    """
    story = _story(candidate)
    size = size or (default_size(story) if shoppers is None else replace(Size(), shoppers=shoppers))
    console = Console(stderr=True, quiet=as_json and not sys.stderr.isatty())
    run = prepare(story, seed=seed, size=size, directory=Path(directory), port=port,
                  say=lambda line: console.print(line, highlight=False))
    notes: list[str] = []  # why no baseline was built
    signal.signal(signal.SIGTERM, _interrupt)  # the service is stopped before the demo goes, whoever ends it
    try:
        with child.serving(run) as process:
            console.print(f"serving on {run.url}, log in {run.log_file}", highlight=False)
            with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                          console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
                task = progress.add_task("starting", total=len(run.trips))
                asyncio.run(drive(run, process, lambda done, text: progress.update(
                    task, completed=done, description=text), notes))
            if not leave and not as_json:
                print(telling.render(*read_back(run, notes), run.url), flush=True)
                _until_interrupted(process)
    except KeyboardInterrupt:
        console.print("stopped")
    found, seen = read_back(run, notes)
    if as_json:
        print(json.dumps({**found.to_dict(), **seen.to_dict()}, default=str), flush=True)
    elif leave:
        print(telling.render(found, seen), flush=True)
    return 0 if found.balanced else 1


async def drive(run: Run, process: subprocess.Popen[bytes], tell: Callable[[int, str], None],
                notes: list[str]) -> None:
    """Replay against the service, day by day, until the verdict; then let it put everything on record.

    Why no baseline was built, where it was due, is added to `notes`.
    """
    stores = stores_of(run.config)
    try:
        with acks.Acks(run.acks_file) as book:
            async with Wire(run.url) as wire:
                await child.until_ready(run, process, wire)
                replay = Replay(wire, run.trips, Shoppers(run.trips, run.seed), book, seed=run.seed, start=SPLIT,
                                tastes=run.tastes)
                day = _Day(run, wire, stores.control, lambda text: tell(replay.requests, text), notes)
                await replay.describe(run.catalogue, run.item_tastes)
                await start(wire, run)
                await replay.run(run.size.over, day)
                await catch_up(wire)
    finally:
        stores.log.close()
        stores.control.close()


async def start(wire: Wire, run: Run) -> None:
    """Start the experiment, as a person would, and let the gateways see it."""
    await wire.post(f"/v1/experiments/{run.story}/start", {"actor": "demo", "reason": "the demo's own experiment"},
                    packed=False)
    await catch_up(wire)
    await asyncio.sleep(PLAN_S)


async def catch_up(wire: Wire) -> None:
    """Have the loop seal, measure, decide and act on all that was sent; `DataError` where a job failed."""
    made = await wire.post("/v1/loop/run", {}, packed=False)
    failed = [job for job in made["jobs"] if job["error"]]
    if failed:
        raise DataError("the loop could not catch up", got=failed, hint="serve.log has the whole of it")


class _Day:
    """What happens at every midnight: the loop catches up, and is asked what it concluded; once, drift gets its
    baseline.
    """

    def __init__(self, run: Run, wire: Wire, control: Control, tell: Callable[[str], None], notes: list[str]) -> None:
        self._run, self._wire, self._control, self._tell, self._notes = run, wire, control, tell, notes
        self._stage: str | None = None

    async def __call__(self, midnight: datetime) -> bool:
        await catch_up(self._wire)
        row = self._control.experiment(self._run.story)
        stage = row.stage if row is not None else "not started"
        self._tell(f"{midnight:%Y-%m-%d} {stage}")
        if (midnight - SPLIT).days == BASELINE_DAYS and (refusal := await build_baseline(self._wire)) is not None:
            self._notes.append(refusal)
        if row is not None and self._over(row, midnight):
            return True
        if stage != self._stage:
            self._stage = stage
            await asyncio.sleep(PLAN_S)
        return False

    def _over(self, row: ExperimentRow, now: datetime) -> bool:
        if books.verdict(self._control, row.name) is not None:
            return True
        seen = latest(self._control, row.name)
        return seen is not None and refused(
            self._run.config.experiments[row.name], cause=seen.cause, stage=row.stage,
            matured=int(seen.evidence["matured_here"]), since=row.since, now=now)


def read_back(run: Run, notes: Sequence[str] = ()) -> tuple[Books, Watched]:
    """Everything that is printed, from the lake and from Control."""
    stores = stores_of(run.config)
    try:
        found = books.audit(stores.lake, stores.control, acks.read(run.acks_file), experiment=run.story,
                            candidate=run.story, seed=run.seed, shoppers=run.size.shoppers)
        return found, watched(Desk(run.config, stores, clock_of(run.config)), campaigns(), "; ".join(notes) or None)
    finally:
        stores.log.close()
        stores.control.close()


def stores_of(config: Config) -> Stores:
    """The stores of the service, for reading."""
    return open_stores(config, SystemClock(), "reader")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _story(name: str) -> Story:
    for story in STORIES:
        if story == name:
            return story
    raise DataError("no such candidate", got=name, expected="one of " + ", ".join(STORIES), field="--candidate")


def _until_interrupted(process: subprocess.Popen[bytes]) -> None:
    """Wait for Ctrl-C, or for the end of the service."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            return
