"""The supervisor of `incumbent serve`: starts the processes of a service, restarts what dies, stops all in order."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.logs import get
from incumbent.service.parts import FRONT, Assignment, Claim, Part, Process, listen, processes
from incumbent.service.scratch import scratch

FATAL = frozenset({2, 3, 4})  # exit codes of a configuration, a conflict, a store: trying again would not help
FIRST_TRIES = 3  # deaths before it ever was ready after which a service gives up
STEADY_S = 60.0  # a process that lived this long starts its backoff anew
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Child:
    """One process: what it is, how often it died, and when it may start again."""

    def __init__(self, process: Process, index: int) -> None:
        self.process, self.index = process, index
        self.popen: subprocess.Popen[bytes] | None = None
        self.ready_fd: int | None = None
        self.ready = self.was_ready = False
        self.started_s = self.again_s = 0.0
        self.deaths = 0

    @property
    def name(self) -> str:
        return f"{self.process}-{self.index}"


class Supervisor:
    """Runs until a signal or until a part cannot start; `run` returns the exit code.

    0 after a stop that drained everything, 1 where something had to be killed or kept dying, 2 to 4 as `FATAL`.
    SIGHUP goes on to the fronts, which then look for a new plan at once; a second SIGTERM or SIGINT stops at once.
    """

    def __init__(self, config: Config, parts: tuple[Part, ...], command: Sequence[str], clock: Clock, *,
                 say: Callable[[str], None], search: Path | None = None) -> None:
        self._config, self._parts, self._command = config, parts, list(command)
        self._monotonic, self._say = clock.monotonic, say
        self._search = search  # where models are imported from, beside the working directory
        self._children = [Child(*which) for which in processes(parts, config.service.workers)]
        self._signals: list[int] = []
        self._log = get("incumbent.service.supervise")
        self._announced = False

    def run(self) -> int:
        """Claim the directory and the port, start everything, and keep it running."""
        claim = Claim(Path(self._config.stores.directory), self._parts)
        needs_port = bool(FRONT & set(self._parts)) or "page" in self._parts
        try:
            self._socket = listen(self._config.service.host, self._config.service.port) if needs_port else None
            (claim.folder / "metrics").mkdir(exist_ok=True)
            for old in (claim.folder / "metrics").glob("*.metrics"):
                if old.name.startswith(tuple({child.process for child in self._children})):
                    old.unlink(missing_ok=True)
            with scratch() as self._scratch, self._signal_pipe() as wake:
                try:
                    return self._watch(wake)
                finally:
                    self._kill()
        finally:
            claim.give_up()

    # ---------------------------------------------------------------------------------------------------- running
    def _watch(self, wake: int) -> int:
        for child in self._children:
            self._start(child)
        while True:
            self._wait(wake)
            for number in self._take_signals():
                if number in (signal.SIGTERM, signal.SIGINT):
                    return self._stop(wake)
                if number == signal.SIGHUP:
                    self._forward(signal.SIGHUP)
            for child in self._children:
                code = self._reap(child)
                if code is None:
                    continue
                if code in FATAL and not child.was_ready:
                    self._say(f"{child.name} cannot run (exit code {code}); stopping.")
                    self._stop(wake)
                    return code
                if not child.was_ready and child.deaths >= FIRST_TRIES:
                    self._say(f"{child.name} died {child.deaths} times before it was ready; stopping.")
                    self._stop(wake)
                    return 1
            self._announce()

    def _start(self, child: Child) -> None:
        readable, writable = os.pipe()
        direct = child.process == "front" or (child.process == "page" and not FRONT & set(self._parts))
        listening = self._socket.fileno() if self._socket is not None and direct else None
        assignment = Assignment(
            child.process, child.index, self._parts, self._config.model_dump(mode="json"), listening,
            str(self._scratch / "page.sock") if "page" in self._parts else None, writable)
        keep = [writable] if listening is None else [writable, listening]
        child.popen = subprocess.Popen(
            [*self._command, child.process, str(child.index)], stdin=subprocess.PIPE, pass_fds=keep,
            env=self._environment())
        os.close(writable)
        assert child.popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.popen.stdin.write(msgspec.json.encode(assignment) + b"\n")
            child.popen.stdin.flush()
        child.ready_fd, child.ready, child.started_s, child.again_s = readable, False, self._monotonic(), 0.0

    def _environment(self) -> dict[str, str]:
        paths = [str(self._search)] if self._search is not None else []
        paths += [path for path in [os.environ.get("PYTHONPATH")] if path]
        return {**os.environ, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}

    def _reap(self, child: Child) -> int | None:
        """The exit code of a child that died just now; starts one whose time has come."""
        if child.popen is None:
            if self._monotonic() >= child.again_s:
                self._start(child)
            return None
        code = child.popen.poll()
        if code is None:
            return None
        lived = self._monotonic() - child.started_s
        child.deaths = 1 if child.was_ready and lived > STEADY_S else child.deaths + 1
        wait = min(30.0, 0.25 * 2 ** (child.deaths - 1))
        child.again_s = self._monotonic() + wait
        self._forget(child)
        if child.was_ready or code not in FATAL:
            self._log.error("a part died; it is started again", part=child.name, exit_code=code, again_in_s=wait,
                            deaths=child.deaths)
        return code

    def _wait(self, wake: int) -> None:
        """Sleep until a signal, a report, or the next start that is due."""
        due = [child.again_s - self._monotonic() for child in self._children if child.popen is None]
        reports = {child.ready_fd: child for child in self._children if child.ready_fd is not None}
        readable, _, _ = select.select([wake, *reports], [], [], max(0.0, min([*due, 5.0])))
        for fd in readable:
            if fd == wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            else:
                child = reports[fd]
                child.ready = os.read(fd, 1) != b"" or child.ready
                child.was_ready = child.was_ready or child.ready  # for good: a failing restart is no bad start
                os.close(fd)
                child.ready_fd = None

    def _announce(self) -> None:
        if self._announced or not all(child.ready for child in self._children):
            return
        self._announced = True
        where = f" on {self.url}" if self._socket is not None else ""
        listed = ", ".join(self._parts)
        self._say(f"incumbent is ready{where} ({listed}; {self._config.service.workers} worker(s); "
                  f"data in {self._config.stores.directory}). Ctrl-C stops it.")

    @property
    def url(self) -> str:
        """Where the service listens."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if self._socket.family == socket.AF_INET6 else f"http://{host}:{port}"

    # --------------------------------------------------------------------------------------------------- stopping
    def _stop(self, wake: int) -> int:
        """Fronts first, so that nothing new comes in; the page; the loop last, which seals what the fronts left."""
        clean = True
        if self._socket is not None:
            self._socket.close()
        for process in ("front", "page", "loop"):
            group = [child for child in self._children if child.process == process]
            self._forward(signal.SIGTERM, group)
            clean = self._await_exit(group, wake) and clean
        return 0 if clean else 1

    def _await_exit(self, group: list[Child], wake: int) -> bool:
        sealing = any(child.process == "loop" for child in group)  # jobs end, then the rest is sealed
        deadline = self._monotonic() + self._config.service.drain_s * (3.0 if sealing else 1.0) + 2.0
        clean, hurry = True, False
        while any(child.popen is not None for child in group):
            for child in group:
                if child.popen is not None and (code := child.popen.poll()) is not None:
                    clean = clean and code == 0
                    self._forget(child)
            left = deadline - self._monotonic()
            if left <= 0 or hurry:
                for child in group:
                    if child.popen is not None:
                        self._log.error("a part did not stop in time and is killed", part=child.name)
                        child.popen.kill()
                        child.popen.wait()
                        self._forget(child)
                return False
            select.select([wake], [], [], min(left, 0.1))
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            hurry = any(number in (signal.SIGTERM, signal.SIGINT) for number in self._take_signals())
        return clean

    def _forward(self, number: signal.Signals, group: list[Child] | None = None) -> None:
        for child in group if group is not None else [c for c in self._children if c.process == "front"]:
            if child.popen is not None and child.popen.poll() is None:
                child.popen.send_signal(number)

    def _forget(self, child: Child) -> None:
        if child.popen is not None and child.popen.stdin is not None:
            child.popen.stdin.close()
        if child.ready_fd is not None:
            os.close(child.ready_fd)
        child.popen = child.ready_fd = None
        child.ready = False

    def _kill(self) -> None:
        for child in self._children:
            if child.popen is not None:
                child.popen.kill()
                child.popen.wait()
                self._forget(child)
        if self._socket is not None:
            self._socket.close()

    # ---------------------------------------------------------------------------------------------------- signals
    @contextlib.contextmanager
    def _signal_pipe(self):  # type: ignore[no-untyped-def]
        """Signals are noted and wake the loop; what was set before is put back."""
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        os.set_blocking(writable, False)
        before = {number: signal.signal(number, lambda n, _: self._signals.append(n)) for number in SIGNALS}
        old = signal.set_wakeup_fd(writable)
        try:
            yield readable
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(readable)
            os.close(writable)

    def _take_signals(self) -> list[int]:
        taken, self._signals = self._signals, []
        return taken
