"""The books at the end: every count that the demo prints, read back from the lake and held against the acks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.demo.acks import Acknowledged
from incumbent.events.schema import Decision
from incumbent.stores.store import Control, Lake

#: verdicts that end the demo
CONCLUSIVE = ("promote", "discard", "roll_back", "inconclusive")


@dataclass(frozen=True)
class Books:
    """What `incumbent demo --json` prints.

    `requests` and `events` are rows of the lake's impression and feedback tables. `acknowledged` is how many requests
    and events the service acknowledged, by the replayer's own file; `lost` how many of those the lake does not hold,
    `duplicates` how many rows it holds twice. `estimate`, `low` and `high` are the net preference on which the verdict
    stands, with its confidence sequence, over `users` matured households; None where it is missing. `p50_ms` and
    `p99_ms` are the gateway's own latency, as the impressions have it.
    """

    candidate: str
    requests: int
    events: int
    acknowledged: int
    lost: int
    duplicates: int
    verdict: str
    estimate: float | None
    low: float | None
    high: float | None
    users: int
    p50_ms: float
    p99_ms: float
    stage: str
    reason: str
    day: str  # of the replay
    seed: int
    shoppers: int

    @property
    def balanced(self) -> bool:
        """Nothing lost and nothing twice."""
        return self.lost == 0 and self.duplicates == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def audit(
    lake: Lake, control: Control, acks: Acknowledged, *, experiment: str, candidate: str, seed: int, shoppers: int,
) -> Books:
    """Read everything back. The service must have sealed what it holds; it may still run."""
    shown = lake.scan("impression", columns=["request_id", "event_id", "latency_ms"])
    told = lake.scan("feedback", columns=["event_id"])
    requests, events = _ids(shown["request_id"]), _ids(told["event_id"])
    rows = shown.num_rows + told.num_rows
    latency = shown["latency_ms"].drop_null().to_numpy()
    p50, p99 = np.quantile(latency, (0.5, 0.99)).tolist() if len(latency) else (float("nan"),) * 2
    decision = verdict(control, experiment)
    seen: dict[str, Any] = {}
    if decision is not None:
        seen = decision.evidence.get("preference", {}).get("preference", {})
    return Books(
        candidate=candidate, requests=shown.num_rows, events=told.num_rows, acknowledged=len(acks),
        lost=len(acks.requests - requests) + len(acks.events - events),
        duplicates=rows - len(_ids(shown["event_id"])) - len(events),
        verdict=decision.verdict if decision else "hold", estimate=seen.get("value"), low=seen.get("low"),
        high=seen.get("high"), users=int(seen.get("n") or 0), p50_ms=round(p50, 3), p99_ms=round(p99, 3),
        stage=(decision.stage_from or "") if decision else "", reason=decision.reason if decision else "no decision",
        day=decision.time.date().isoformat() if decision else "", seed=seed, shoppers=shoppers)


def verdict(control: Control, experiment: str) -> Decision | None:
    """The decision that concluded an experiment; the newest one where none has; None before the first."""
    decisions = [found for found in control.conclusions("decision", experiment, limit=1_000)
                 if isinstance(found, Decision)]
    concluded = [found for found in decisions if found.verdict in CONCLUSIVE]
    return concluded[-1] if concluded else decisions[0] if decisions else None


def _ids(column: pa.ChunkedArray) -> frozenset[str]:
    return frozenset(pc.unique(column).to_pylist())
