"""The parts of a service and the processes that run them.

| part | what it does | process |
|---|---|---|
| gateway | answers POST /v1/recommendations | front, `service.workers` of them |
| collector | takes POST /v1/events | the same front processes |
| loop | seals, attributes, decides, acts on a schedule | loop |
| page | control routes, OpenAPI, the page | page, behind the front on a unix socket, or alone on the port |
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from incumbent import registry
from incumbent.clock import Clock, ReplayClock, SystemClock
from incumbent.config import Config
from incumbent.errors import ConfigError, ConflictError, StoreError
from incumbent.stores.store import Role, Stores

Part = Literal["gateway", "collector", "loop", "page"]
Process = Literal["front", "loop", "page"]
PARTS: tuple[Part, ...] = get_args(Part)
FRONT: frozenset[Part] = frozenset({"gateway", "collector"})


class Assignment(Struct, frozen=True):
    """What a supervisor tells a process that it starts: one line of JSON on its standard input, which then stays open
    for as long as the supervisor lives."""

    process: Process
    index: int
    parts: tuple[Part, ...]  # of the whole service, so that a front knows whether there is a page behind it
    config: dict[str, Any]
    listen_fd: int | None  # the listening socket, inherited
    page_socket: str | None  # path of the page's unix socket
    ready_fd: int  # a byte is written here once the process serves


def processes(parts: tuple[Part, ...], workers: int) -> list[tuple[Process, int]]:
    """The processes of a service, in the order in which they start.

    >>> processes(("gateway", "loop"), 2)
    [('loop', 0), ('front', 0), ('front', 1)]
    """
    out: list[tuple[Process, int]] = []
    if "loop" in parts:
        out.append(("loop", 0))
    if "page" in parts:
        out.append(("page", 0))
    if FRONT & set(parts):
        out.extend(("front", index) for index in range(workers))
    return out


def read_assignment(fd: int = 0) -> Assignment:
    """The first line of standard input; what follows is silence until the supervisor goes."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(fd, 1)
        if not piece:
            raise ConfigError("no assignment on standard input", hint="this is started by `incumbent serve`")
        line += piece
    return msgspec.json.decode(bytes(line), type=Assignment)


def config_of(assignment: Assignment) -> Config:
    """The configuration as the supervisor resolved it, whatever the environment or the file say by now."""
    kept = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("INCUMBENT_") and "__" in key}
    try:
        return Config(**assignment.config)
    finally:
        os.environ.update(kept)


def clock_of(config: Config) -> Clock:
    """The business clock that a configuration asks for."""
    if config.service.clock == "replay":
        return ReplayClock(config.stores.directory, start=config.service.replay_start)
    return SystemClock()


def open_stores(config: Config, clock: Clock, role: Role) -> Stores:
    """The stores of a configuration as one role needs them; what keeps everything in one process does not serve."""
    if config.stores.kind == "memory":
        raise ConfigError("stores in memory are not shared between processes", got="memory", expected="embedded",
                          field="stores.kind")
    stores: Stores = registry.load("stores", config.stores.kind)(config, clock, role=role)
    return stores


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; `ConflictError` where the port is taken, `ConfigError` where the address is not ours."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
    except OSError as error:
        raise ConfigError("host does not resolve", got=host, hint=str(error), field="service.host") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(2048)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        where = f"{host}:{port}"
        if error.errno in (98, 48):  # EADDRINUSE on Linux, macOS
            raise ConflictError("the port is taken", got=where, hint="stop what listens there, or serve --port 8001",
                                field="service.port") from None
        raise ConfigError("cannot listen there", got=where, hint=str(error.strerror), field="service.host") from None
    return bound


class Claim:
    """The right to be the one service that runs some parts on a directory, for as long as this object lives."""

    def __init__(self, directory: Path, parts: tuple[Part, ...]) -> None:
        self.folder = directory / "run"
        self._files: list[int] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in parts:
                self._take(part)
        except OSError as error:
            self.give_up()
            raise StoreError("the directory cannot be written", got=str(directory), expected="a writable directory",
                             hint=f"{error.strerror}; choose another with stores.directory or --dir") from None
        except BaseException:
            self.give_up()
            raise

    def _take(self, part: Part) -> None:
        path = self.folder / f"{part}.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._files.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "another process"
            raise ConflictError(f"a {part} already runs on this directory", got=str(self.folder.parent),
                                expected="one service per directory",
                                hint=f"stop process {holder}, or choose another --dir") from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)

    def give_up(self) -> None:
        """Let the parts be taken by another service."""
        while self._files:
            os.close(self._files.pop())
