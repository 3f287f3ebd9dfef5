"""What the page *Drift* shows, as plain values, from Control: baseline, budget, streams, open incidents, findings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from incumbent.config_sections import DriftConfig
from incumbent.drift.budget import HOURS_PER_MONTH, Budget
from incumbent.loop import baselines, drift_ledger
from incumbent.loop.drift_ledger import Ledger, Seen, Standing
from incumbent.loop.drift_watch import Watch, watches
from incumbent.stores.store import BaselineRow, Control

KNOWN = 400  # findings looked at
SHOWN = 40
#: the order in which streams are shown, worst first
ORDER = ("drift", "invalid", "refused", "no_data", "waiting", "excluded", "ok")


class View:
    """Reads what there is; what is watched is made once for a baseline."""

    def __init__(self, control: Control, config: DriftConfig) -> None:
        self._control, self._config = control, config
        self._known: tuple[tuple[str, str], list[Watch], Budget | None] | None = None

    def shown(self, now: datetime) -> dict[str, Any]:
        """Everything on the page."""
        baseline, ledger = baselines.active(self._control), drift_ledger.read(self._control)
        watched, budget = self._watches(baseline) if baseline is not None else ([], None)
        findings = [one for one in msgspec.to_builtins(self._control.conclusions("finding", None, KNOWN))
                    if str(one["check"]).startswith("drift:")]
        by_id = {one["event_id"]: one for one in findings}
        streams = [_stream(watch, ledger.standings.get(watch.name, Standing())) for watch in watched]
        streams.sort(key=lambda one: (ORDER.index(one["status"]) if one["status"] in ORDER else 0, one["name"]))
        return {
            "enabled": self._config.enabled, "window": self._config.window,
            "baseline": self._baseline(baseline) if baseline is not None else None,
            "baselines": [_row(row, baseline) for row in self._control.baselines()],
            "until": {group: at.isoformat() for group, at in sorted(ledger.until.items())},
            "budget": self._budget(baseline, budget, ledger, findings), "streams": streams,
            "open": [{"stream": one["name"], "finding": by_id[one["open"]]} for one in streams
                     if one["open"] in by_id],
            "findings": findings[:SHOWN]}

    def _watches(self, baseline: baselines.Baseline) -> tuple[list[Watch], Budget | None]:
        key = (baseline.id, baseline.streams_hash)
        if self._known is None or self._known[0] != key:
            self._known = (key, *watches(baseline, self._config))
        return self._known[1], self._known[2]

    def _baseline(self, baseline: baselines.Baseline) -> dict[str, Any]:
        """The one in force: its period, what it holds, what was left out and why."""
        streams = [{"name": name, "kind": about.kind, "windows": about.windows, "held": about.held, "rows": about.rows,
                    "season": about.season.replace("_", " "), "agreement": about.agreement, "note": about.note,
                    "carried_from": about.carried_from} for name, about in sorted(baseline.about.items())]
        left = baseline.row.definition.get("left_out")
        return {**_row(baseline.row, baseline), "streams": streams,
                "left_out": dict(left) if isinstance(left, Mapping) else {}}

    def _budget(self, baseline: baselines.Baseline | None, budget: Budget | None, ledger: Ledger,
                findings: list[dict[str, Any]]) -> dict[str, Any]:
        """Promised beside delivered: alarms since the baseline, true ones too, and what may be false of them."""
        promised = self._config.false_alarms_per_month
        told: dict[str, Any] = {"promised": promised, "monitors": len(budget.parts) if budget else 0, "refused": [
            part.reason for part in budget.refused] if budget else [], "alarms": 0, "days": 0.0, "allowed": None}
        begun = baseline.row.until if baseline is not None else None
        end = max(ledger.until.values(), default=None)
        if begun is None or end is None or end <= begun:
            return told
        alarms = [one for one in findings if one["status"] in ("drift", "invalid") and one["severity"] != "info"
                  and one["subject"].startswith("stream:") and _time(one["time"]) >= begun]
        days = (end - begun) / timedelta(days=1)
        return {**told, "alarms": len(alarms), "pages": sum(one["severity"] == "page" for one in alarms), "days": days,
                "allowed": promised * days * 24 / HOURS_PER_MONTH}


def _row(row: BaselineRow, in_force: baselines.Baseline | None) -> dict[str, Any]:
    return {"name": row.name, "version": row.version, "since": row.since.isoformat(), "until": row.until.isoformat(),
            "built_at": row.built_at.isoformat(), "window": row.window, "time_zone": row.time_zone, "hash": row.hash,
            "in_force": in_force is not None and (in_force.row.name, in_force.row.version) == (row.name, row.version)}


def _stream(watch: Watch, standing: Standing) -> dict[str, Any]:
    """One judge: how it stands, its part of the budget, and its windows' evidence beside its threshold."""
    part = watch.part
    return {
        "name": watch.name, "monitor": watch.judge.monitor, "status": standing.status, "severity": standing.severity,
        "reason": standing.reason if standing.recent or standing.status == "refused" else "no window was judged yet",
        "since": standing.since.isoformat() if standing.since else None, "open": standing.open,
        "honoured": part.honoured, "alpha": part.alpha, "per_month": part.false_alarms_per_month,
        "windows": part.monitor.windows, "method": METHODS[part.monitor.kind], "season": watch.season.cycle,
        "threshold": 1 / part.alpha,
        "points": [_point(seen, over_time=watch.over_time) for seen in standing.recent]}


#: what a kind of monitor is called
METHODS = {"rank": "rank of each window", "tail": "rank, extrapolated", "e_rank": "ranks over time",
           "e_detector": "bounded mean over time"}


def _point(seen: Seen, *, over_time: bool) -> dict[str, Any]:
    """One window: evidence is the e-value over time, else 1 / p; None where it could not be judged."""
    evidence = seen.e_value if over_time else (1 / seen.p_value if seen.p_value else None)
    judged = seen.status in ("ok", "drift")
    return {"window": seen.start.isoformat(), "evidence": evidence if judged else None, "n": seen.n,
            "status": seen.status, "statistic": (seen.statistic or "").replace("_", " ")}


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
