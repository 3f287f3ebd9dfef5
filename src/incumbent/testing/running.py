"""A service as a real process: started, asked over HTTP, stopped or killed. For end-to-end tests, also your own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from incumbent.clock import SystemClock

_READY = re.compile(r"incumbent is ready(?: on (http://\S+))?")


class Running:
    """`incumbent serve` in a directory that holds an ``incumbent.toml``, on a free port unless told otherwise.

    As a context manager it stops the service at the end and, where it had to be killed, fails with its output.
    """

    def __init__(self, directory: Path, *, only: Sequence[str] = (), port: int = 0, patience_s: float = 300.0,
                 environment: dict[str, str] | None = None, command: Sequence[str] | None = None) -> None:
        self.directory, self._patience_s, self._monotonic = directory, patience_s, SystemClock().monotonic
        self.output = directory / f"serve-{os.getpid()}-{id(self):x}.log"
        if command is None:
            parts = [word for part in only for word in ("--only", part)]
            command = [sys.executable, "-m", "incumbent", "serve", "--port", str(port), *parts]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=directory, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})})
        self.url: str | None = None

    def __enter__(self) -> Self:
        self.wait_until_ready()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            code = self.stop()
            if error is None and code != 0:
                raise AssertionError(f"the service ended with {code}:\n{self.text}")

    @property
    def text(self) -> str:
        """What it wrote so far."""
        return self.output.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Until it says that it is ready; fails with its output where it ends before."""
        self.wait_for(lambda: _READY.search(self.text))
        found = _READY.search(self.text)
        self.url = found[1] if found else None

    def wait_for(self, true: Any, what: str = "ready") -> None:
        """Until `true()` is; fails with the service's output where it ends or patience does."""
        deadline = self._monotonic() + self._patience_s
        while not true():
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.text}")
            if self._monotonic() > deadline:
                raise AssertionError(f"not {what} after {self._patience_s:g} s:\n{self.text}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON (or text) of one request; `body` goes as JSON, bytes as they are."""
        assert self.url is not None, "no part listens"
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if kind.startswith("application/json") else text.decode()

    def children(self) -> dict[str, int]:
        """Process name -> pid of the processes that the supervisor runs."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == self.process.pid:
                    words = (folder / "cmdline").read_bytes().decode().split("\0")
                    found[f"{words[-3]}-{words[-2]}"] = int(folder.name)
        return found

    def stop(self) -> int:
        """Stop it gracefully; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the service did not stop:\n{self.text}") from None

    def kill(self) -> None:
        """Kill the supervisor and all its processes at once."""
        victims = [*self.children().values(), self.process.pid]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
