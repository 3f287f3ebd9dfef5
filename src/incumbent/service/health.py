"""/healthz, /readyz and /metrics: is the process alive, is the service able, what has it counted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from incumbent.clock import Clock
from incumbent.logs import get
from incumbent.service.metrics import Meter
from incumbent.stores.store import Log


class Told(str):
    """A sentence that readiness tells and is ready all the same."""


#: None where all is well, else the sentence that says what is not
Check = Callable[[], str | None]


def routes(checks: Mapping[str, Check], meter: Meter) -> APIRouter:
    """The three routes; `checks` name what readiness depends on."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="What is ready, and why what is not is not", responses={503: {
        "description": "Not ready; the checks say why."}})
    async def readyz() -> JSONResponse:
        ready, found = judge(checks)
        return JSONResponse({"ready": ready, "checks": found}, status_code=200 if ready else 503)

    @router.get("/metrics", response_class=PlainTextResponse, summary="Prometheus text, over all processes")
    async def metrics() -> Response:
        return Response(meter.expose(), media_type="text/plain; version=0.0.4")

    return router


def judge(checks: Mapping[str, Check]) -> tuple[bool, dict[str, str]]:
    """Whether every check passes, and per check ``ok`` or the reason; what is but `Told` passes with its reason.

    >>> judge({"log": lambda: None, "plan": lambda: "no plan yet"})
    (False, {'log': 'ok', 'plan': 'no plan yet'})
    """
    found = {}
    for name, check in checks.items():
        try:
            found[name] = check() or "ok"
        except Exception as error:  # a check that cannot be made is one that fails
            found[name] = f"{type(error).__name__}: {error}"
    return all(value == "ok" or isinstance(value, Told) for value in found.values()), found


class ClockWatch:
    """Notices a machine clock that steps back: counted, logged with what it means, and served on.

    Event ids keep their order across the step, leases and windows follow the clock as it is; feedback stamped before
    the step can lie ahead of the clock for as long as the step was, and is refused once that is over `event_ahead_s`.
    """

    def __init__(self, clock: Clock, meter: Meter) -> None:
        self._clock, self._meter = clock, meter
        self._last = clock.now()
        self._log = get("incumbent.service.health")

    def look(self) -> timedelta | None:
        """The size of a step back since the last look, None where there was none."""
        now, last = self._clock.now(), self._last
        self._last = now
        if now >= last:
            return None
        self._meter.add("incumbent_clock_steps")
        self._log.warning("the clock stepped back", by_s=(last - now).total_seconds(), now=now.isoformat(),
                          hint="check time synchronisation of this machine")
        return last - now


def log_problems(meter: Meter, log: Log) -> None:
    """Report what the log refuses just now, and what it found damaged since this process opened it."""
    meter.problems("log", [] if log.error is None else [str(log.error)])
    meter.problems("inbox", [str(problem) for problem in getattr(log, "problems", ())])


def silent(meter: Meter, process: str, count: int, within_s: float, clock: Clock) -> Check:
    """A check that `count` processes of a kind have reported lately: the loop behind a gateway, say."""

    def check() -> str | None:
        now = clock.monotonic()
        up = sum(1 for s in meter.neighbours() if s.part == process and now - s.at < within_s)
        return None if up >= count else f"{up} of {count} {process} processes reported within {within_s:g} s"

    return check


def behind(path: str, reported: Check) -> Check:
    """A check of the page on a unix socket: not ready where it does not report; ready all the same, and told of, where
    it did and nobody listens just now, as it is being restarted."""

    def check() -> str | None:
        missing = reported()
        if missing is not None:
            return missing
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.setblocking(False)
            try:
                asked.connect(path)
            except BlockingIOError:  # it listens, and many are before us
                return None
            except OSError:
                return Told("it is being restarted; its paths answer 503 meanwhile")
        return None

    return check
