"""Run one process of a service: what `incumbent.commands.part` does once it knows which."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvicorn

from incumbent import logs
from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.service.parts import Assignment, Part, open_stores
from incumbent.service.shim import Shim
from incumbent.service.wire import speaking


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: `stop_on_signals` says when it ends."""

    once_started: Callable[[], object] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.once_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(asgi: Shim, config: Config) -> Server:
    """A server for the shim: no access log, no lifespan, no websockets; stops within `drain_s`."""
    return Server(uvicorn.Config(
        asgi, loop="uvloop", http=speaking(asgi), ws="none", lifespan="off", interface="asgi3", access_log=False,
        log_config=None, log_level="error",  # what it warns of, no HTTP request, is answered and counted by us
        server_header=False, proxy_headers=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(config.service.drain_s))))


def run_front(assignment: Assignment, config: Config, clock: Clock) -> int:
    """Serve the hot routes until told to stop; everything acknowledged is on disk when it returns."""
    from incumbent.service.front import POLL_S, Front

    stores = open_stores(config, clock, "gateway")
    front = Front(config, assignment.parts, clock, stores.log, stores.control, page_socket=assignment.page_socket,
                  worker=f"{os.getpid():x}")
    assert assignment.listen_fd is not None
    listening = socket.socket(fileno=assignment.listen_fd)

    async def main() -> None:
        server = server_of(front.asgi, config)
        await front.start()
        gc.collect()
        gc.freeze()  # what the models loaded lives as long as the process: no collection need walk it
        stopping = stop_on_signals(server, hup=front.tick)
        ticking = asyncio.create_task(every(POLL_S, front.tick))
        try:
            await serve(server, listening, assignment.ready_fd)
        finally:
            ticking.cancel()
            await front.stop()
            stopping()

    run(main())
    return 0


Later = Callable[[], Awaitable[None]]
BuildPage = Callable[[Config, Clock, tuple[Part, ...]], tuple[Shim, Later, Later]]


def run_page(assignment: Assignment, config: Config, clock: Clock, build: BuildPage) -> int:
    """Serve the control routes and the page, on the unix socket behind the fronts or alone on the port.

    `build` gives the application, what to call every half second, and what to call at the end.
    """
    asgi, tick, close = build(config, clock, assignment.parts)
    listening = (socket.socket(fileno=assignment.listen_fd) if assignment.listen_fd is not None
                 else unix_socket(str(assignment.page_socket)))

    async def main() -> None:
        server = server_of(asgi, config)
        stopping = stop_on_signals(server)
        await tick()
        ticking = asyncio.create_task(every(0.5, tick))
        try:
            await serve(server, listening, assignment.ready_fd)
        finally:
            ticking.cancel()
            await close()
            stopping()

    run(main())
    return 0


def run(main: Awaitable[None]) -> None:
    """Run on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)  # type: ignore[arg-type]


async def serve(server: Server, listening: socket.socket, ready_fd: int) -> None:
    """Serve on a socket, and tell the supervisor once that works."""

    server.once_started = lambda: tell(ready_fd)
    await server.serve(sockets=[listening])


async def every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Call again and again; what fails is logged, and the next turn comes."""
    log = logs.get("incumbent.service.run")
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:
            log.error("a periodic task failed", exc_info=error)


def stop_on_signals(server: Server, hup: Callable[[], Awaitable[object]] | None = None) -> Callable[[], None]:
    """End the server on SIGTERM and when the supervisor is gone; SIGHUP calls `hup`. Returns how to undo it."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[object]] = set()

    def stop() -> None:
        server.should_exit = True

    def look() -> None:
        if hup is not None:
            task: asyncio.Task[object] = asyncio.ensure_future(hup())
            running.add(task)
            task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGHUP, look)
    watch_parent(lambda: loop.call_soon_threadsafe(stop))
    return lambda: (loop.remove_signal_handler(signal.SIGTERM), None)[1]


def watch_parent(gone: Callable[[], object]) -> None:
    """Call `gone` when standard input ends, which it does when the supervisor dies, however it dies."""

    def wait() -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while os.read(0, 1024):
                pass
            gone()

    threading.Thread(target=wait, name="parent", daemon=True).start()


def tell(ready_fd: int) -> None:
    """Report to the supervisor that this process serves."""
    with contextlib.suppress(OSError):
        os.write(ready_fd, b"1")
        os.close(ready_fd)


def unix_socket(path: str) -> socket.socket:
    """A listening unix socket that only this user may open."""
    Path(path).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    Path(path).chmod(0o600)
    listening.listen(256)
    listening.setblocking(False)
    return listening
