"""The processes of a kill campaign without HTTP: a producer that appends to its inbox, and the sealer.

``python -m incumbent.testing.roles producer DIRECTORY --number 0`` and ``... sealer DIRECTORY`` run until the file
``stop`` appears in the directory.
"""

from __future__ import annotations

import argparse
import os
import random
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from incumbent.clock import EPOCH, SystemClock
from incumbent.errors import StoreError
from incumbent.events import codec
from incumbent.events.schema import Feedback
from incumbent.stores.control import SqlControl
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.store import Record
from incumbent.testing.campaign import STOP, Acks

START = datetime(2026, 3, 1, 20, tzinfo=UTC)
UNREADABLE = 97  # every 97th message of a producer is no event


def event_id(producer: int, number: int) -> str:
    """The id of a producer's message, the same whenever it is sent; some minutes of messages cross a day."""
    ms = (START - EPOCH) // timedelta(milliseconds=1) + number * 5_000
    text = f"{(ms << 80) | (0x7 << 76) | (0b10 << 62) | (producer << 32) | number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def message(producer: int, number: int) -> Record:
    """A producer's message: a purchase, or now and then bytes that are no event."""
    name = event_id(producer, number)
    if number % UNREADABLE == UNREADABLE - 1:
        return Record(name, "feedback", f"no event {producer} {number}".encode())
    return Record(name, "feedback", codec.encode(Feedback(
        event_id=name, time=START + timedelta(seconds=5 * number), user_id=f"user-{number % 37}",
        item_id=f"item-{producer}-{number}", action="purchase", quantity=1, value_minor=number, currency="EUR")))


def batches(acked: set[int], rng: random.Random) -> Iterator[list[int]]:
    """Numbers to send, from the first that was not acknowledged, for ever."""
    number = 0
    while True:
        batch: list[int] = []
        while len(batch) < rng.randint(1, 20):
            if number not in acked:
                batch.append(number)
            number += 1
        yield batch


def produce(directory: Path, producer: int, pause_s: float) -> None:
    """Append to an inbox, retry what the disk refuses, keep what was acknowledged."""
    path = directory / f"producer-{producer}.acks"
    rng = random.Random(os.getpid())
    pause = threading.Event()
    log = EmbeddedLog(directory, SystemClock())
    with Acks(path) as acks:
        for batch in batches(Acks.read(path), rng):
            if (directory / STOP).exists():
                break
            records = [message(producer, number) for number in batch]
            while True:
                try:
                    log.append(records).result(30)
                    break
                except StoreError:
                    pause.wait(0.05)
            acks.add(batch)
            pause.wait(pause_s)
    log.close()


def seal(directory: Path, pause_s: float, lease_s: float = 0.3) -> None:
    """Seal, and compact now and then, until told to stop and nothing is left."""
    from incumbent.loop.seal import Sealer
    from incumbent.stores.lake import DeltaLake

    clock = SystemClock()
    log = EmbeddedLog(directory, clock, write=False)
    lake = DeltaLake(directory / "lake", 4, checkpoint_every=5)
    control = SqlControl.in_directory(directory)

    def sealer(limit: int) -> Sealer:
        return Sealer(log, lake, control, clock, holder=f"sealer-{os.getpid()}", lease_s=lease_s, limit=limit)

    pause = threading.Event()
    runs = 0
    while True:
        stop = (directory / STOP).exists()
        done = sealer(20_000 if stop else 300).run_once()  # small segments: many moments to die at
        if stop and done.reason is None:
            break
        runs += 1
        if runs % 10 == 0:
            lake.compact(datetime(2100, 1, 1, tzinfo=UTC))
        pause.wait(pause_s)
    sealer(1).stop()
    log.close()
    control.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of a role."""
    parser = argparse.ArgumentParser(prog="python -m incumbent.testing.roles", description=__doc__.partition("\n")[0])
    parser.add_argument("role", choices=["producer", "sealer"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--number", type=int, default=0, help="of the producer")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two batches or two runs")
    given = parser.parse_args(arguments)
    if given.role == "producer":
        produce(given.directory, given.number, given.pause)
    else:
        seal(given.directory, given.pause)


if __name__ == "__main__":
    main()
