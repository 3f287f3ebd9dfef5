"""Metrics of all processes of one service: counted in plain dictionaries, snapshotted each second, merged on scrape.

`prometheus_client`'s own multiprocess mode costs 3.7 us an observation; this costs 0.3 us, and a scrape is at most
one second behind. Every process keeps one snapshot file; a counter of a process that died stays in the sum.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.events.schema import Impression

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_BLOCK = 4_096  # bytes that a file system gives a file at a time, or a multiple
REASON_CHARS = 400  # of a problem, as a label

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]

#: name -> (kind, labels, help): everything that /metrics can show
CATALOGUE: dict[str, tuple[Kind, Labels, str]] = {
    "incumbent_http_requests": ("counter", ("route", "status"), "HTTP requests answered."),
    "incumbent_http_seconds": ("histogram", ("route",), "From the first byte of a request to its answer."),
    "incumbent_http_aborted": ("counter", ("route",), "Requests whose body stopped half-way."),
    "incumbent_errors": ("counter", ("route", "code"), "Error answers by the code in their body."),
    "incumbent_recommendations": ("counter", ("surface", "mode"), "Recommendation requests by how they were served."),
    "incumbent_recommendation_seconds": ("histogram", ("surface",), "Time to make a recommendation."),
    "incumbent_model_answers": ("counter", ("model", "status"), "Answers of models, by what came of them."),
    "incumbent_model_seconds": ("histogram", ("model",), "Latency of models."),
    "incumbent_events": ("counter", ("outcome", "reason"), "Events taken: accepted, duplicate, rejected and why."),
    "incumbent_plan_version": ("gauge", (), "Version of the serving plan in use."),
    "incumbent_plan_unreachable": ("gauge", (), "1 while Control cannot be reached and the last plan is served on."),
    "incumbent_clock_steps": ("counter", (), "Times that the machine's clock stepped back."),
    "incumbent_inbox_records": ("gauge", (), "Records that wait to be sealed into the lake."),
    "incumbent_seal_lag_seconds": ("gauge", (), "Age of the last completed seal run."),
    "incumbent_job_runs": ("counter", ("job", "outcome"), "Runs of the loop's jobs: ok, error, skipped."),
    "incumbent_job_seconds": ("histogram", ("job",), "Duration of the loop's jobs."),
    "incumbent_problem": ("gauge", ("about", "reason"), "1 for whatever is wrong now, or was found damaged."),
    "incumbent_up": ("gauge", ("part",), "Processes of this service that reported within ten seconds."),
}


class Snapshot(Struct):
    """What one process has counted, as its file holds it."""

    part: str
    pid: int
    at: float  # monotonic seconds of the machine
    values: dict[str, list[tuple[Labels, float]]]
    rows: dict[str, list[tuple[Labels, list[float]]]]


class Meter:
    """The metrics of this process, and on scrape those of its neighbours.

    >>> from incumbent.clock import SystemClock
    >>> meter = Meter(None, "gateway", SystemClock())
    >>> meter.add("incumbent_events", ("accepted", ""), 2)
    >>> b'incumbent_events_total{outcome="accepted",reason=""} 2.0' in meter.expose()
    True
    """

    def __init__(self, directory: Path | None, part: str, clock: Clock) -> None:
        self.part = part
        self._clock = clock
        self._path = directory / f"{part}-{os.getpid()}.metrics" if directory else None
        self._values: dict[str, dict[Labels, float]] = {
            name: {} for name, (kind, _, _) in CATALOGUE.items() if kind != "histogram"}
        self._rows: dict[str, dict[Labels, list[float]]] = {
            name: {} for name, (kind, _, _) in CATALOGUE.items() if kind == "histogram"}

    def add(self, name: str, labels: Labels = (), n: float = 1) -> None:
        """Count `n` more."""
        values = self._values[name]
        values[labels] = values.get(labels, 0.0) + n

    def set(self, name: str, value: float, labels: Labels = ()) -> None:
        """Set a gauge."""
        self._values[name][labels] = value

    def problems(self, about: str, reasons: Iterable[str]) -> None:
        """Say what is wrong with something, in place of what was said before; nothing where all is well.

        >>> from incumbent.clock import SystemClock
        >>> meter = Meter(None, "front", SystemClock())
        >>> meter.problems("plan", ["plan 2 cannot be served"]), meter.snapshot().values["incumbent_problem"]
        (None, [(('plan', 'plan 2 cannot be served'), 1.0)])
        >>> meter.problems("plan", []), meter.snapshot().values
        (None, {})
        """
        kept = {labels: value for labels, value in self._values["incumbent_problem"].items() if labels[0] != about}
        self._values["incumbent_problem"] = kept | {
            (about, " ".join(reason.split())[:REASON_CHARS]): 1.0 for reason in reasons}

    def observe(self, name: str, seconds: float, labels: Labels = ()) -> None:
        """Put a duration into its bucket."""
        rows = self._rows[name]
        row = rows.get(labels)
        if row is None:
            row = rows[labels] = [0.0] * (len(LATENCY_S) + 2)
        row[bisect_left(LATENCY_S, seconds)] += 1
        row[-1] += seconds

    def impression(self, made: Impression) -> None:
        """Count a served request: its surface and mode, its models and what became of them."""
        surface = made.surface
        self.add("incumbent_recommendations", (surface, made.mode))
        if made.latency_ms is not None:
            self.observe("incumbent_recommendation_seconds", made.latency_ms / 1000, (surface,))
        for answer in made.models:
            self.add("incumbent_model_answers", (answer.name, answer.status))
            self.observe("incumbent_model_seconds", answer.latency_ms / 1000, (answer.name,))

    def snapshot(self) -> Snapshot:
        """What this process has counted so far."""
        return Snapshot(self.part, os.getpid(), self._clock.monotonic(),
                        {name: list(values.items()) for name, values in self._values.items() if values},
                        {name: [(key, list(row)) for key, row in rows.items()]
                         for name, rows in self._rows.items() if rows})

    def flush(self) -> None:
        """Rewrite this process's file; a disk that refuses costs the snapshot, never the service.

        On a full disk what is there is written over, where it has the room: a process that lives goes on saying so.
        """
        if self._path is None:
            return
        data, aside = msgspec.msgpack.encode(self.snapshot()), self._path.with_suffix(".tmp")
        try:
            aside.write_bytes(data)
            aside.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
                if len(data) <= -(-self._path.stat().st_size // _BLOCK) * _BLOCK:
                    with self._path.open("r+b") as file:
                        file.write(data)
                        file.truncate()

    def neighbours(self) -> list[Snapshot]:
        """The snapshots of all processes of this service, this one's own first and fresh."""
        found = [self.snapshot()]
        for path in sorted(self._path.parent.glob("*.metrics")) if self._path else ():
            if path != self._path:
                with contextlib.suppress(OSError, msgspec.DecodeError):
                    found.append(msgspec.msgpack.decode(path.read_bytes(), type=Snapshot))
        return found

    def expose(self) -> bytes:
        """Everything as Prometheus text format 0.0.4."""
        from incumbent.service.exposition import expose  # prometheus_client is needed on a scrape only

        return expose(self.neighbours(), self._clock.monotonic())
