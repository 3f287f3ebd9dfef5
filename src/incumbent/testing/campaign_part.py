"""One part of a service in a kill campaign: started as users start it, killed on order or from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from incumbent.testing.armed import Order, Orders
from incumbent.testing.running import Running

RANDOM = "at a random moment"
WHOLE = "its supervisor too"


class Part:
    """One part as a service of its own: `incumbent serve --only PART`, and the orders to its process."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.orders = Orders(directory / "orders" / name)
        self.killed: Counter[str] = Counter()  # from outside
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.running: Running | None = None

    @property
    def url(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def deaths(self) -> Counter[str]:
        """How often it died, by point and from outside."""
        return self.orders.deaths + self.killed

    def start(self) -> None:
        """Start it."""
        self.running = Running(self.directory, command=[
            sys.executable, "-m", "incumbent.testing.armed", str(self.orders.path), "serve", "--port", str(self.port),
            "--only", self.name])

    def wait(self) -> None:
        """Until it is ready."""
        assert self.running is not None
        self.running.wait_until_ready()

    def kill(self) -> bool:
        """SIGKILL its process, whatever it does; its supervisor starts another. False where none lives just now."""
        assert self.running is not None
        for pid in self.running.children().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed[RANDOM] += 1
                return True
        return False

    def rearm(self, orders: Sequence[Order]) -> None:
        """Make room for a process that is to die at one of these points: one that has no order is killed. Where none of
        them waits any more, the process that had taken it died of something else, and they are given again."""
        assert self.running is not None
        for pid in self.running.children().values():
            if self.orders.held_by(pid) == "":
                if not self.orders.waiting:
                    self.orders.give(orders)
                self.kill()

    def kill_whole(self) -> None:
        """SIGKILL process and supervisor at once, and start it again."""
        assert self.running is not None
        self.running.kill()
        self.killed[WHOLE] += 1
        self.start()
        self.wait()

    def stop(self) -> int:
        """Stop it as users do; its exit code."""
        assert self.running is not None
        return self.running.stop()

    def close(self) -> None:
        """Kill whatever still runs."""
        if self.running is not None and self.running.process.poll() is None:
            self.running.kill()
