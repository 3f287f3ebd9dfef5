"""Prepare a directory for a run: trained models, configuration, and the trips to come."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from incumbent.config import Config
from incumbent.demo import data, taste, toml
from incumbent.demo.lists import Lists
from incumbent.demo.settings import Size, configuration
from incumbent.demo.shoppers import Trip, enrol
from incumbent.demo.story import Story, cast
from incumbent.errors import ConflictError
from incumbent.service.parts import PARTS, Claim, listen

#: what a run leaves behind, and the next one may remove
OURS = ("data", "models", "incumbent.toml", "acks.txt", "serve.log")
MARK = ".incumbent-demo"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Run:
    """One prepared run."""

    story: Story
    seed: int
    size: Size
    directory: Path
    port: int
    config: Config
    trips: list[Trip]
    catalogue: dict[str, tuple[str, str]]  # item -> (title, category), of everything that a list can hold
    tastes: dict[str, list[float]]  # basket of a trip -> where its household stands in the taste space when it asks
    item_tastes: dict[str, list[float]]  # of those items of the catalogue that have a vector

    @property
    def config_file(self) -> Path:
        """The configuration that the service is started with."""
        return self.directory / "incumbent.toml"

    @property
    def acks_file(self) -> Path:
        """The replayer's own record."""
        return self.directory / "acks.txt"

    @property
    def log_file(self) -> Path:
        """What the service prints."""
        return self.directory / "serve.log"

    @property
    def url(self) -> str:
        """Where the service listens."""
        return f"http://{HOST}:{self.port}"


def prepare(
    story: Story, *, seed: int, size: Size, directory: Path, port: int, say: Callable[[str], None],
) -> Run:
    """Read the year, train both models, write everything that the service needs.

    An earlier run in the directory is removed; anything else in it raises `ConflictError`, as does a demo that still
    runs there, and a port that is taken: all before any work is done.
    """
    directory = directory.absolute()  # the service works in it, the demo where it was called: both mean one place
    listen(HOST, port).close()
    clear(directory)
    say("reading the year")
    journey = data.load()
    for reason, count in journey.dropped.items():
        say(f"left out {count:,} of {journey.read:,} lines: {reason}")
    past = journey.lines.before(data.SPLIT)
    trips = enrol(past, journey.lines.between(data.SPLIT, size.end), shoppers=size.shoppers, seed=seed,
                  start=data.SPLIT, days=size.enrol_days)
    say(f"training on {len(past):,} lines before {data.SPLIT:%Y-%m-%d}")
    champion, candidate = cast(story, past, seed)
    champion.save(directory / "models" / "champion.msgpack")
    candidate.save(directory / "models" / "candidate.msgpack")
    config = configuration(story, seed, champion, candidate, size, directory=str(directory / "data"), port=port)
    tree = config.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    (directory / "incumbent.toml").write_text(HEAD + toml.dumps(tree), encoding="utf-8")
    say(f"{champion.name} is champion, {candidate.name} the candidate; {len(trips):,} trips of {size.shoppers:,} "
        f"households, {data.SPLIT:%Y-%m-%d} to {size.end:%Y-%m-%d}")
    known, space = catalogue(journey, champion, candidate), taste.train(past)
    return Run(story, seed, size, directory, port, config, trips, known,
               taste.of_trips(space, journey.lines, trips), space.of_items(known))


def catalogue(journey: data.Journey, *models: Lists) -> dict[str, tuple[str, str]]:
    """What the items of some lists are called: (title, category) by item."""
    items = sorted({int(item) for lists in models for pairs in lists.lists.values() for item, _ in pairs})
    named = {item: journey.titles[item] for item in items}
    return {str(item): (kind.capitalize(), (category or department).capitalize())
            for item, (kind, category, department) in named.items()}


HEAD = "# Written by `incumbent demo`. What is not here stands at its default.\n"


def clear(directory: Path) -> None:
    """Make the directory ready for a run: there, ours, and empty."""
    mark = directory / MARK
    if directory.exists() and any(directory.iterdir()) and not mark.exists():
        raise ConflictError("the directory holds something else", got=str(directory),
                            expected="an empty directory, or one of an earlier demo", hint="choose another --dir")
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / "data").exists():
        Claim(directory / "data", PARTS).give_up()  # raises where a service still runs there
    mark.touch()
    for name in OURS:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
