"""A kill campaign: real processes, killed at named points and at random moments, and what must hold afterwards.

    campaign = Campaign(directory, random.Random(1))
    campaign.add("sealer", "incumbent.testing.roles", "sealer", str(directory))
    campaign.start("sealer")
    campaign.kill_at("sealer", "after:incumbent.stores.lake.DeltaLake.commit")

A role is any module that runs until the file ``stop`` appears in the directory, or until SIGTERM (a service). A
producer keeps what was acknowledged to it in an `Acks` file. How a role is killed is not its business:
`incumbent.testing.faults` wraps it from outside.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from incumbent.errors import ConflictError

STOP = "stop"


class Acks:
    """A producer's own record of what was acknowledged to it: a line per batch, synced before the next is sent.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "p.acks"
    >>> with Acks(path) as acks:
    ...     acks.add([1, 2])
    >>> _ = path.open("a").write("3 4")  # torn: the line has no end
    >>> sorted(Acks.read(path))
    [1, 2]
    """

    def __init__(self, path: Path) -> None:
        torn = len(path.read_bytes()) - len(_whole(path)) if path.exists() else 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if torn:
            os.ftruncate(self._descriptor, path.stat().st_size - torn)

    def add(self, numbers: Iterable[int]) -> None:
        """Note that these were acknowledged."""
        os.write(self._descriptor, (" ".join(map(str, numbers)) + "\n").encode())
        os.fdatasync(self._descriptor)

    def __enter__(self) -> Acks:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @staticmethod
    def read(path: Path) -> set[int]:
        """What was acknowledged, without a torn last line."""
        return {int(number) for number in _whole(path).split()} if path.exists() else set()


def _whole(path: Path) -> bytes:
    head, newline, _ = path.read_bytes().rpartition(b"\n")
    return head + newline


class Campaign:
    """The processes of one directory, and the tally of their deaths."""

    def __init__(self, directory: Path, rng: random.Random) -> None:
        self.directory = directory
        self.rng = rng
        self.kills: Counter[str] = Counter()
        self._roles: dict[str, list[str]] = {}
        self._until_signal: set[str] = set()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def add(self, role: str, module: str, *arguments: str, until_signal: bool = False) -> None:
        """Name a role: a module and its arguments, and whether it is SIGTERM that ends it."""
        self._roles[role] = [module, *arguments]
        if until_signal:
            self._until_signal.add(role)

    def start(self, role: str, *faults: str) -> subprocess.Popen[bytes]:
        """Start a role, with the arguments of `incumbent.testing.faults` where some are given."""
        if role in self._running and self._running[role].poll() is None:
            raise ConflictError("the role runs already", got=role)
        runner = ["-m", "incumbent.testing.faults", *faults, "--"] if faults else ["-m"]
        with (self.directory / f"{role}.out").open("ab") as out:
            process = subprocess.Popen([sys.executable, *runner, *self._roles[role]], stdout=out, stderr=out,
                                       stdin=subprocess.DEVNULL, start_new_session=True)
        self._running[role] = process
        return process

    def kill_at(self, role: str, point: str, nth: int = 1, timeout_s: float = 120.0) -> bool:
        """Start a role that dies at the `nth` pass of a point, and wait for that; False where it never came there.

        Where the role runs already it is killed first, which counts as a kill at a random moment.
        """
        self.kill_now(role)
        process = self.start(role, "--kill", point, "--nth", str(nth))
        try:
            died = process.wait(timeout_s) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            died = False
            self._end(role)
        if died:
            self.kills[point] += 1
        return died

    def kill_after(self, role: str, low_s: float = 0.0, high_s: float = 1.0) -> None:
        """Kill a role at a random moment of the next seconds, and start it again."""
        process = self._running.get(role)
        if process is None or process.poll() is not None:
            process = self.start(role)
        try:
            process.wait(self.rng.uniform(low_s, high_s))
        except subprocess.TimeoutExpired:
            self.kill_now(role)
        self.start(role)

    def kill_now(self, role: str) -> None:
        """SIGKILL a role where it runs."""
        process = self._running.pop(role, None)
        if process is not None and process.poll() is None:
            process.kill()
            if process.wait(10) == -signal.SIGKILL:
                self.kills["at random"] += 1

    def running(self, role: str) -> bool:
        """Whether the role's process lives."""
        return role in self._running and self._running[role].poll() is None

    def finish(self, roles: Iterable[str], timeout_s: float = 120.0) -> dict[str, int]:
        """Ask all to stop, let each of `roles` end in order, alone where it died, and return their exit codes."""
        (self.directory / STOP).touch()
        codes = {}
        for role in roles:
            process = self._running[role] if self.running(role) else self.start(role)
            if role in self._until_signal:
                process.terminate()
            codes[role] = process.wait(timeout_s)
        return codes

    def close(self) -> None:
        """End whatever still runs."""
        for role in list(self._running):
            self._end(role)

    def _end(self, role: str) -> None:
        process = self._running.pop(role)
        if process.poll() is None:
            process.kill()
            process.wait(10)

    def output(self, role: str) -> str:
        """What a role has written to stdout and stderr."""
        path = self.directory / f"{role}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def tally(self) -> str:
        """The kills by point, as a table."""
        lines = [f"{count:4d}  {point}" for point, count in sorted(self.kills.items())]
        return "\n".join([*lines, f"{sum(self.kills.values()):4d}  kills in all"])
