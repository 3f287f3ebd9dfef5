"""The books at the end: every count that the demo prints, read back from the lake and held against the acks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.demo.acks import Acknowledged
from incumbent.events.schema import Decision
from incumbent.loop.decide import latest
from incumbent.stores.store import Control, Lake, Table

#: tables of what the replay tells the service beside its requests
TOLD: tuple[Table, ...] = ("feedback", "item", "embedding")
#: verdicts that end the demo
CONCLUSIVE = ("promote", "discard", "roll_back", "inconclusive")


@dataclass(frozen=True)
class Books:
    """What `incumbent demo --json` prints.

    `requests` are rows of the lake's impression table, `events` those of its feedback, item and embedding tables.
    `acknowledged` is how many requests and events the service acknowledged, by the replayer's own file; `lost` how many
    of those the lake does not hold, `duplicates` how many rows it holds twice. `estimate`, `low` and `high` are the net
    preference on which the verdict stands, with its confidence sequence, over `users` matured households; None where it
    is missing. `p50_ms` and `p99_ms` are the gateway's own latency, as the impressions have it; None without any.
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
    p50_ms: float | None
    p99_ms: float | None
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
    told = pa.concat_tables([lake.scan(table, columns=["event_id"]) for table in TOLD])
    requests, events = _ids(shown["request_id"]), _ids(told["event_id"])
    rows = shown.num_rows + told.num_rows
    latency = shown["latency_ms"].drop_null().to_numpy()
    p50, p99 = np.quantile(latency, (0.5, 0.99)).round(3).tolist() if len(latency) else (None, None)
    ruling = conclusion(control, experiment)
    return Books(
        candidate=candidate, requests=shown.num_rows, events=told.num_rows, acknowledged=len(acks),
        lost=len(acks.requests - requests) + len(acks.events - events),
        duplicates=rows - len(_ids(shown["event_id"])) - len(events), p50_ms=p50, p99_ms=p99,
        seed=seed, shoppers=shoppers, **ruling)


def conclusion(control: Control, experiment: str) -> dict[str, Any]:
    """The verdict's part of the books: of the concluding Decision, or of the rule's latest look where there is none."""
    found = verdict(control, experiment) or latest(control, experiment)
    if found is None:
        return {"verdict": "hold", "reason": "nobody has looked yet", "day": "", "stage": "", "estimate": None,
                "low": None, "high": None, "users": 0}
    worse = found.verdict == "discard" and found.evidence.get("cause") == "worse"  # stands on all households
    seen = found.evidence.get("pooled" if worse else "preference", {}).get("preference", {})
    return {"verdict": found.verdict, "reason": found.reason, "day": found.time.date().isoformat(),
            "stage": found.evidence.get("stage", ""), "estimate": seen.get("value"), "low": seen.get("low"),
            "high": seen.get("high"), "users": int(seen.get("n") or 0)}


def verdict(control: Control, experiment: str) -> Decision | None:
    """The Decision that concluded an experiment; None where none has."""
    found = [one for one in control.conclusions("decision", experiment, limit=1_000) if isinstance(one, Decision)]
    return next((one for one in reversed(found) if one.verdict in CONCLUSIVE), None)


def _ids(column: pa.ChunkedArray) -> frozenset[str]:
    return frozenset(pc.unique(column).to_pylist())
