"""Structured logs: one line an event, JSON or text, to standard error. Never on the hot path of a request."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.dev import plain_traceback
from structlog.tracebacks import ExceptionDictTransformer

Level = Literal["debug", "info", "warning", "error"]


def configure(
    level: Level = "info", style: Literal["json", "text"] = "json", *, stream: TextIO | None = None, **bound: Any,
) -> None:
    """Set up logging of this process, once, at its start; `bound` (part, worker) stands in every line.

    Records of the standard `logging` module (uvicorn, SQLAlchemy, a user's model) take the same way out.
    Times in log lines are the machine's: a log is read beside other machines' logs, also under a replay clock.
    A traceback shows no local variables: shoppers, keys and secrets stand in them, and no erasure reaches a log.
    """
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json":
        last: list[Any] = [structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
                           structlog.processors.JSONRenderer(default=repr)]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain_traceback)]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "uvicorn.error", "aiohttp.access", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; before `configure` it writes as `logging` does by default."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
