"""act: work off the outbox, at least once and by id: publish the plan, write to the log, store and tell.

Everything here may happen twice and then changes nothing: a plan equal to the current one is not published again, the
sealer drops an event id that the lake has, Control stores a conclusion once. A told alert carries its event id.

What takes long (an erasure waits for a measuring run) is an errand: a job of its own works off the rows of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from incumbent import logs
from incumbent.clock import Clock
from incumbent.errors import DataError, IncumbentError
from incumbent.events import codec
from incumbent.events.plan import ServingPlan
from incumbent.events.schema import Alert, Conclusion
from incumbent.loop.enact import to_log
from incumbent.loop.leases import Held
from incumbent.stores.store import Control, Log, OutboxRow, Record

LEASE = "act"
_BATCH = 500
_log = logs.get(__name__)


class Sink(Protocol):
    """Where alerts go. May be told one twice, with the same event id."""

    def send(self, alert: Alert) -> None:
        """Tell; raises where it could not, to be called again."""
        ...


class LogSink:
    """Tells alerts to the structured log."""

    def send(self, alert: Alert) -> None:
        """One line: ``page`` as an error, ``ticket`` as a warning."""
        write = {"page": _log.error, "ticket": _log.warning}.get(alert.severity, _log.info)
        write("alert", alert_id=alert.event_id, subject=alert.subject, severity=alert.severity, title=alert.title,
              body=alert.body)


class Acted(Struct, frozen=True):
    """What a run did: outbox rows done and failed (which stay, and are tried again)."""

    done: int = 0
    failed: int = 0
    stopped: str | None = None


Handler = Callable[[dict[str, Any]], object]


class Errands:
    """Works off the outbox rows of the kinds of `handlers`, what failed least first, one process at a time.

    A row that fails stays with its error and does not hold up the rows behind it.
    """

    def __init__(self, control: Control, clock: Clock, handlers: Mapping[str, Handler], *, lease: str,
                 holder: str = "loop", lease_s: float = 30.0) -> None:
        self._control, self._clock, self._handlers = control, clock, dict(handlers)
        self._lease, self._holder, self._lease_s = lease, holder, lease_s

    def run_once(self) -> Acted:
        """Do what is to be done now."""
        if not self._rows():
            return Acted()
        with Held(self._control, self._clock, self._lease, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Acted(stopped="another process holds the lease")
            token, done, failed = lease.token, 0, 0
            for row in sorted(self._rows(), key=lambda row: (row.kind != "publish", row.attempts)):
                if not lease.renew() or lease.token != token:  # what was read may have been erased meanwhile
                    return Acted(done, failed, "another process took the lease")
                ok = self._try(row)
                done, failed = done + ok, failed + (not ok)
            return Acted(done, failed)

    def run_or_raise(self) -> Acted:
        """The same as a job that backs off: `IncumbentError` where a row failed, which stays asked for."""
        acted = self.run_once()
        if acted.failed:
            kinds = ", ".join(self._handlers)
            raise IncumbentError("outbox rows failed and stay", got=f"{acted.failed} of kind {kinds}",
                                 hint="the outbox has the error of each; they are tried again")
        return acted

    def _takes(self, kind: str) -> bool:
        return kind in self._handlers

    def _rows(self) -> list[OutboxRow]:
        """The oldest rows that are for this job, however many of other jobs stand before them."""
        limit = _BATCH
        while True:
            rows = self._control.outbox(limit)
            mine = [row for row in rows if self._takes(row.kind)]
            if len(mine) >= _BATCH or len(rows) < limit:
                return mine[:_BATCH]
            limit *= 4

    def _try(self, row: OutboxRow) -> bool:
        try:
            handler = self._handlers.get(row.kind)
            if handler is None:
                raise DataError("an outbox row of unknown kind", got=row.kind,
                                expected="one of " + ", ".join(self._handlers))
            handler(row.payload)
        except Exception as error:  # whatever goes wrong with one row must not stop the others
            self._control.outbox_failed(row.id, f"{type(error).__name__}: {error}")
            _log.warning("an outbox row failed and stays", row=row.id, kind=row.kind, attempts=row.attempts + 1,
                         error=str(error))
            return False
        self._control.outbox_done([row.id])
        return True


class Actor(Errands):
    """Works off the outbox: plans first, then what failed least, then oldest. One process at a time, lease `act`.

    `plan_of` builds the plan that should be in force, from the configuration and the experiments as they stand. A row
    of a kind that nobody knows fails like others. `more` are handlers of further kinds; rows of the kinds in `left` are
    another job's `Errands`.
    """

    def __init__(
        self, control: Control, log: Log, clock: Clock, plan_of: Callable[[], ServingPlan], *,
        sinks: Sequence[Sink] | None = None, holder: str = "loop", lease_s: float = 30.0, log_timeout_s: float = 30.0,
        more: Mapping[str, Handler] | None = None, left: Collection[str] = (),
    ) -> None:
        super().__init__(control, clock, {
            "publish": self._publish, "log": self._append, "store": self._store, "alert": self._alert, **(more or {})},
            lease=LEASE, holder=holder, lease_s=lease_s)
        self._events, self._plan_of, self._log_timeout_s, self._left = log, plan_of, log_timeout_s, frozenset(left)
        self._sinks: Sequence[Sink] = (LogSink(),) if sinks is None else sinks

    def _takes(self, kind: str) -> bool:
        return kind not in self._left

    def _publish(self, payload: dict[str, Any]) -> None:
        """Put the plan in force that the experiments now ask for, whatever they asked for when the row was written."""
        self._control.publish(msgspec.structs.replace(self._plan_of(), time=self._clock.now()))

    def _append(self, payload: dict[str, Any]) -> None:
        event = _event(payload)
        record = Record(event.event_id, "conclusion", codec.encode(event))
        self._events.append([record]).result(self._log_timeout_s)

    def _store(self, payload: dict[str, Any]) -> None:
        event = _event(payload)
        self._control.conclude(event, outbox=[to_log(event)])

    def _alert(self, payload: dict[str, Any]) -> None:
        event = _event(payload)
        if not isinstance(event, Alert):
            raise DataError("only an alert is told", got=type(event).__name__)
        self._control.conclude(event, outbox=[to_log(event)])
        for sink in self._sinks:
            sink.send(event)


def _event(payload: dict[str, Any]) -> Conclusion:
    """The conclusion in a payload; times may have become text on their way through Control."""
    event: Conclusion = msgspec.convert(payload["event"], Conclusion, strict=False)
    return event
