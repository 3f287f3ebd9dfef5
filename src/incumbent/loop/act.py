"""act: work off the outbox, at least once and by id: publish the plan, write to the log, store and tell.

Everything here may happen twice and then changes nothing: a plan equal to the current one is not published again, the
sealer drops an event id that the lake has, Control stores a conclusion once. A told alert carries its event id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from incumbent import logs
from incumbent.clock import Clock
from incumbent.errors import DataError
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


class Actor:
    """Works off the outbox: plans first, then what failed least, then oldest. One process at a time, lease `act`.

    `plan_of` builds the plan that should be in force, from the configuration and the experiments as they stand. A row
    that fails stays with its error and does not hold up the rows behind it. `more` are handlers of further kinds.
    """

    def __init__(
        self, control: Control, log: Log, clock: Clock, plan_of: Callable[[], ServingPlan], *,
        sinks: Sequence[Sink] | None = None, holder: str = "loop", lease_s: float = 30.0, log_timeout_s: float = 30.0,
        more: Mapping[str, Callable[[dict[str, Any]], object]] | None = None,
    ) -> None:
        self._control, self._events, self._clock, self._plan_of = control, log, clock, plan_of
        self._sinks: Sequence[Sink] = (LogSink(),) if sinks is None else sinks
        self._holder, self._lease_s, self._log_timeout_s = holder, lease_s, log_timeout_s
        self._handlers: dict[str, Callable[[dict[str, Any]], object]] = {
            "publish": self._publish, "log": self._append, "store": self._store, "alert": self._alert, **(more or {})}

    def run_once(self) -> Acted:
        """Do what is to be done now."""
        if not self._control.outbox(1):
            return Acted()
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Acted(stopped="another process holds the lease")
            rows = sorted(self._control.outbox(_BATCH), key=lambda row: (row.kind != "publish", row.attempts))
            done = [row.id for row in rows if self._try(row)]
            return Acted(len(done), len(rows) - len(done))

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
