"""``python -m incumbent.commands.part PROCESS INDEX``: one process of `incumbent serve`, started by its supervisor.

The only place that knows service and dashboard both: neither imports the other.
"""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from incumbent.commands.codes import exit_code, local_parts
from incumbent.errors import IncumbentError

if TYPE_CHECKING:
    from incumbent.config import Config
    from incumbent.service.parts import Assignment

def main() -> int:
    """Take the assignment from standard input and run until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor stops it in order
    from incumbent import logs
    from incumbent.service import parts

    assignment = parts.read_assignment()
    config = parts.config_of(assignment)
    logs.configure(config.service.log_level, config.service.log_format, part=f"{assignment.process}-{assignment.index}")
    try:
        with local_parts(f"the part {assignment.process!r}"):
            return _run(assignment, config)
    except IncumbentError as error:
        print(f"incumbent {assignment.process}: {error}", file=sys.stderr, flush=True)
        return exit_code(error)


def _run(assignment: Assignment, config: Config) -> int:
    from incumbent.service import parts, run

    clock = parts.clock_of(config)
    if assignment.process == "front":
        return run.run_front(assignment, config, clock)
    if assignment.process == "loop":
        from incumbent.service.looper import run_loop

        return run_loop(assignment, config, clock)
    from incumbent import dashboard
    from incumbent.service.page import build

    mount = getattr(dashboard, "mount", None)
    return run.run_page(assignment, config, clock, partial(build, mount=mount))


if __name__ == "__main__":
    sys.exit(main())
