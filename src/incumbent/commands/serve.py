"""`incumbent serve`."""

from __future__ import annotations

import sys
from pathlib import Path

from incumbent import logs
from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.errors import ConfigError, DataError, near
from incumbent.service.parts import PARTS, Part, clock_of
from incumbent.service.supervise import Supervisor


def serve(config: Config, only: tuple[Part, ...] = (), *, search: Path | None = None) -> int:
    """Run the parts of a service in one process group until told to stop; the exit code.

    `search` is where models are imported from, beside the working directory (the folder of the configuration file).
    """
    parts = tuple(part for part in PARTS if not only or part in only)
    if "gateway" in parts and not config.surfaces:
        raise ConfigError("no surface is configured", field="surfaces", expected="at least one [surfaces.NAME]",
                          hint="`incumbent init` writes an example")
    logs.configure(config.service.log_level, config.service.log_format, part="supervisor")
    if config.service.clock == "replay":
        clock_of(config)  # makes the shared clock before anybody reads it
    command = [sys.executable, "-m", "incumbent.commands.part"]
    supervisor = Supervisor(config, parts, command, SystemClock(), search=search,
                            say=lambda line: print(line, flush=True))
    return supervisor.run()


def parts_of(names: list[str]) -> tuple[Part, ...]:
    """The parts of that name; `DataError` for an unknown one.

    >>> parts_of(["loop", "gateway"])
    ('gateway', 'loop')
    """
    for name in names:
        if name not in PARTS:
            raise DataError("no such part", got=name, expected="one of " + ", ".join(PARTS), field="--only",
                            hint=near(name, PARTS))
    return tuple(part for part in PARTS if part in names)
