"""The service as a child process: started by its own command, stopped in order, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from incumbent.demo.models import DIRECTORY_VARIABLE
from incumbent.demo.prepare import Run
from incumbent.demo.wire import Wire
from incumbent.errors import UnavailableError

STOP_S = 40.0
READY_TRIES = 600
READY_WAIT_S = 0.1


@contextmanager
def serving(run: Run) -> Iterator[subprocess.Popen[bytes]]:
    """`incumbent serve` on the run's configuration, for as long as the block lasts; it prints to ``serve.log``.

    It has a session of its own, so that Ctrl-C reaches the demo alone, which then stops it; and it ends by itself where
    the demo was killed.
    """
    environment = {**os.environ, DIRECTORY_VARIABLE: str(run.directory.absolute())}
    command = [sys.executable, "-c", "from incumbent.demo.child import tied; tied()", "serve", "--config",
               str(run.config_file.absolute())]
    with run.log_file.open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.PIPE,
                                   cwd=run.directory, start_new_session=True)
        try:
            yield process
        finally:
            stop(process)
            assert process.stdin is not None
            process.stdin.close()


def tied() -> None:
    """The command line, ended in order when standard input does: that is when whoever started it is gone."""
    from incumbent.cli import main
    from incumbent.service.run import watch_parent

    watch_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    main()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the service; what it acknowledged is sealed when this returns, unless it had to be killed."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def until_ready(run: Run, process: subprocess.Popen[bytes], wire: Wire) -> None:
    """Return once the service answers ``/readyz`` with 200; `UnavailableError`, with the end of its log, where not."""
    for _ in range(READY_TRIES):
        if process.poll() is not None:
            break
        if await wire.answers("/readyz"):
            return
        await asyncio.sleep(READY_WAIT_S)
    code = process.poll()
    raise UnavailableError(
        "the service did not start", got=f"exit code {code}" if code is not None else "no answer on /readyz",
        hint=f"the end of {run.log_file}: {tail(run)}")


def tail(run: Run, size: int = 600) -> str:
    """The end of the service's log."""
    return run.log_file.read_bytes()[-size:].decode("utf-8", "replace").strip()
