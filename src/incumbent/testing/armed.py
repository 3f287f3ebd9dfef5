"""`incumbent` as users start it, with processes that die on order: no hook in the service, orders come from outside.

``python -m incumbent.testing.armed ORDERS serve --only loop`` runs ``incumbent serve --only loop``; each process that
its supervisor starts takes the next order from the file ORDERS (a line ``NTH POINT`` of `incumbent.testing.faults`),
runs the very module that the supervisor would have run, and dies at the `nth` pass of the point. Its supervisor starts
the next one, as it would after any death, only without the pause that it keeps after several deaths in a row.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from incumbent.testing.faults import at, kill

PART = "incumbent.commands.part"


class Order(Struct, frozen=True):
    """Die at the `nth` pass of a point."""

    point: str
    nth: int = 1


class Orders:
    """The orders to the processes of one service, in a file; beside it, what was taken and what was carried out.

    >>> import tempfile
    >>> orders = Orders(Path(tempfile.mkdtemp()) / "loop")
    >>> orders.give([Order("before:m.f", 2), Order("after:m.f")])
    >>> orders.take(), orders.waiting
    (Order(point='before:m.f', nth=2), 1)
    >>> orders.dying("before:m.f")
    >>> orders.deaths
    Counter({'before:m.f': 1})
    >>> orders.held_by(os.getpid()), orders.held_by(1) is None
    ('before:m.f', True)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._died = path.with_name(f"{path.name}.died")
        self._taken = path.with_name(f"{path.name}.taken")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def give(self, orders: Iterable[Order]) -> None:
        """These are all that wait from now on."""
        with self._locked():
            self._write([f"{order.nth} {order.point}" for order in orders])

    def take(self) -> Order | None:
        """The next order, which no other process gets."""
        with self._locked():
            lines = self.path.read_text().splitlines()
            self._write(lines[1:])
            nth, _, point = lines[0].partition(" ") if lines else ("", "", "")
            with self._taken.open("a") as file:
                file.write(f"{os.getpid()} {point}\n")
        return Order(point, int(nth)) if lines else None

    def held_by(self, pid: int) -> str | None:
        """The point at which a process is to die, empty where it found no order; None while it has not asked."""
        lines = self._taken.read_text().splitlines() if self._taken.exists() else []
        return next((point for who, _, point in (line.partition(" ") for line in reversed(lines)) if who == str(pid)),
                    None)

    def dying(self, point: str) -> None:
        """The last words of a process."""
        with self._died.open("a") as file:
            file.write(f"{point}\n")

    @property
    def waiting(self) -> int:
        """Orders that no process has taken."""
        with self._locked():
            return len(self.path.read_text().splitlines())

    @property
    def deaths(self) -> Counter[str]:
        """Point -> processes that died there."""
        return Counter(self._died.read_text().splitlines() if self._died.exists() else ())

    def _write(self, lines: Sequence[str]) -> None:
        self.path.write_text("".join(f"{line}\n" for line in lines))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.path.with_name(f"{self.path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def run_part(orders: Orders, arguments: Sequence[str]) -> None:
    """One process of a service, under the next order where there is one."""
    sys.argv = [PART, *arguments]
    order = orders.take()
    if order is None:
        runpy.run_module(PART, run_name="__main__", alter_sys=True)
        return

    def die() -> None:
        orders.dying(order.point)
        kill()

    with at(order.point, die, order.nth):
        runpy.run_module(PART, run_name="__main__", alter_sys=True)


def run_service(orders: Orders, arguments: Sequence[str]) -> None:
    """The command line of `incumbent`, whose supervisor starts its processes through `run_part`."""
    from incumbent.service import supervise

    begin = supervise.Supervisor.__init__
    command = [sys.executable, "-m", "incumbent.testing.armed", str(orders.path), "part"]

    def init(self: Any, config: Any, parts: Any, _: Any, *more: Any, **named: Any) -> None:
        begin(self, config, parts, command, *more, **named)

    setattr(supervise.Supervisor, "__init__", init)  # noqa: B010
    supervise.STEADY_S = 0.0  # each death counts as the first in a row
    sys.argv = ["incumbent", *arguments]
    runpy.run_module("incumbent", run_name="__main__", alter_sys=True)


def main(arguments: Sequence[str]) -> None:
    """``ORDERS part PROCESS INDEX``, or ``ORDERS`` and the command line of `incumbent`."""
    orders = Orders(Path(arguments[0]).absolute())
    if arguments[1] == "part":
        run_part(orders, arguments[2:])
    else:
        run_service(orders, arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
