"""Pulse: what the processes of a service report of themselves, as the page shows it: who is up, and rates just now."""

from __future__ import annotations

from collections import deque
from typing import Any

from incumbent.clock import Clock
from incumbent.service.exposition import STALE_S
from incumbent.service.metrics import LATENCY_S, Meter, Snapshot
from incumbent.stores.store import Control

SPAN_S = 10.0  # rates are over the last so many seconds
ELSEWHERE = frozenset({"experiment"})  # problems that the desk finds itself, also while no loop runs


class Pulse:
    """Keeps a few seconds of merged counters; `look` is to be called about twice a second."""

    def __init__(self, meter: Meter, clock: Clock, control: Control, parts: tuple[str, ...]) -> None:
        self._meter, self._monotonic, self._control = meter, clock.monotonic, control
        self._processes = {"front": "gateway" in parts or "collector" in parts, "loop": "loop" in parts}
        self._ring: deque[tuple[float, dict[str, float], list[float]]] = deque()

    def look(self) -> None:
        """Remember the counters as they are."""
        now, snapshots = self._monotonic(), self._meter.neighbours()
        self._ring.append((now, _totals(snapshots), _latencies(snapshots)))
        while len(self._ring) > 2 and self._ring[1][0] < now - SPAN_S:
            self._ring.popleft()

    def live(self) -> dict[str, Any]:
        """``{tiles: [{key, label, text}], reason}``: requests and events a second, latency, failures; provisional."""
        if len(self._ring) < 2:
            return {"tiles": [], "reason": "nothing was counted yet"}
        (then, before, slow), (now, after, late) = self._ring[0], self._ring[-1]
        span = max(now - then, 1e-9)

        def rate(name: str) -> float:
            return max(after.get(name, 0.0) - before.get(name, 0.0), 0.0) / span

        made = [b - a for a, b in zip(slow, late, strict=True)]
        answered, wrong = rate("recommendations"), rate("recommendations_failed")
        tiles = [("requests", "recommendations a second", f"{answered:.1f}"),
                 ("events", "events accepted a second", f"{rate('accepted'):.1f}"),
                 ("rejected", "events rejected a second", f"{rate('rejected'):.1f}"),
                 ("p50", "answer, median", _quantile(made, 0.5)),
                 ("p99", "answer, 99th percentile", _quantile(made, 0.99)),
                 ("failed", "requests answered with an error", f"{wrong / answered:.1%}" if answered else "none asked")]
        return {"tiles": [{"key": key, "label": f"{label} (last {span:.0f} s)", "text": text}
                          for key, label, text in tiles], "reason": None}

    def health(self) -> list[dict[str, Any]]:
        """``{name, ok, text}`` of every process, of Control, of the plan and of sealing, and of whatever a process says
        is wrong: a plan that cannot be served, a log that refuses, an inbox that was damaged, a job that fails."""
        now = self._monotonic()
        fresh = [s for s in self._meter.neighbours() if now - s.at < STALE_S]
        if not any(self._processes.values()) and not any(s.part in self._processes for s in fresh):
            return []  # no service runs here, and none should
        out = []
        for process, wanted in self._processes.items():
            up = sum(s.part == process for s in fresh)
            if wanted:
                out.append({"name": process, "ok": up > 0, "text": f"{up} running" if up else "does not report"})
        wrong = sorted({labels for s in fresh for labels, _ in s.values.get("incumbent_problem", ())})
        try:
            version = self._control.plan_version()
            if not any(about == "plan" for about, _ in wrong):
                out.append({"name": "plan", "ok": version > 0, "text": f"version {version}" if version else "none yet"})
        except Exception as error:  # shown, whatever it is
            out.append({"name": "control", "ok": False, "text": str(error)})
        unreachable = _largest(fresh, "incumbent_plan_unreachable")
        if unreachable:
            out.append({"name": "gateway", "ok": False, "text": "cannot reach Control; serves its last plan"})
        lag, waiting = _largest(fresh, "incumbent_seal_lag_seconds"), _largest(fresh, "incumbent_inbox_records")
        if lag is not None:
            out.append({"name": "sealing", "ok": lag < 120, "text": f"{waiting or 0:.0f} records wait, sealed "
                                                                    f"{lag:.0f} s ago"})
        return out + [{"name": about, "ok": False, "text": reason} for about, reason in wrong if about not in ELSEWHERE]


def credit_tiles(control: Control) -> list[dict[str, Any]]:
    """What was clicked and bought in the last hour, by who contributed it: impression credit, provisional."""
    from incumbent.loop.live import read

    live = read(control)
    found: dict[tuple[str, str], dict[str, int]] = {}
    for key, count in live.hour.get("actions", {}).items():
        surface, action, owner = key.rsplit("/", 2)
        if action in ("click", "purchase") and owner in ("candidate", "champion"):
            found.setdefault((surface, action), {})[owner] = count
    return [{"key": f"{surface}/{action}", "label": f"{surface}: {action}s of the candidate's and the champion's items "
                                                    "(last hour)",
             "text": f"{owners.get('candidate', 0)} and {owners.get('champion', 0)}"}
            for (surface, action), owners in sorted(found.items())]


def _totals(snapshots: list[Snapshot]) -> dict[str, float]:
    out: dict[str, float] = {}
    for snapshot in snapshots:
        for labels, value in snapshot.values.get("incumbent_events", ()):
            out[labels[0]] = out.get(labels[0], 0.0) + value
        for (route, status), value in snapshot.values.get("incumbent_http_requests", ()):
            out[route] = out.get(route, 0.0) + value
            if int(status) >= 500:
                out[f"{route}_failed"] = out.get(f"{route}_failed", 0.0) + value
    return out


def _latencies(snapshots: list[Snapshot]) -> list[float]:
    """Merged bucket counts of recommendation answers."""
    out = [0.0] * (len(LATENCY_S) + 1)
    for snapshot in snapshots:
        for labels, row in snapshot.rows.get("incumbent_http_seconds", ()):
            if labels == ("recommendations",):
                out = [a + b for a, b in zip(out, row, strict=False)]
    return out


def _quantile(counts: list[float], q: float) -> str:
    """The bucket that holds a quantile, as text.

    >>> _quantile([0.0, 9.0, 1.0] + [0.0] * 15, 0.5)
    'under 2.5 ms'
    """
    total = sum(counts)
    if total <= 0:
        return "none asked"
    reached = 0.0
    for bound, count in zip(LATENCY_S, counts, strict=False):
        reached += count
        if reached >= q * total:
            return f"under {bound * 1000:g} ms"
    return f"over {LATENCY_S[-1]:g} s"


def _largest(snapshots: list[Snapshot], name: str) -> float | None:
    found = [value for snapshot in snapshots for _, value in snapshot.values.get(name, ())]
    return max(found, default=None)
