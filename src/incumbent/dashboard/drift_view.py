"""What the page *Drift* shows, as plain values, from what the desk says: budget, streams, incidents, findings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

KNOWN = 400  # findings looked at
SHOWN = 40
HOURS_PER_MONTH = 730.5
#: the order in which streams are shown, worst first
ORDER = ("drift", "invalid", "refused", "no_data", "waiting", "excluded", "ok")
#: what a kind of monitor is called
METHODS = {"rank": "rank of each window", "tail": "rank, extrapolated", "e_rank": "ranks over time",
           "e_detector": "bounded mean over time"}
OVER_TIME = ("e_rank", "e_detector")


class Desk(Protocol):
    """What is asked of a desk."""

    def drift(self) -> dict[str, Any]: ...
    def drift_findings(self, monitor: str | None = None, limit: int = 100) -> list[dict[str, Any]]: ...
    def baselines(self) -> list[dict[str, Any]]: ...
    def baseline(self, name: str, version: int | None = None) -> dict[str, Any]: ...


def view(desk: Desk) -> dict[str, Any]:
    """Everything on the page."""
    told, findings = desk.drift(), desk.drift_findings(None, KNOWN)
    by_id = {one["event_id"]: one for one in findings}
    streams = sorted((_stream(row) for row in told["monitors"]), key=lambda one: (
        ORDER.index(one["status"]) if one["status"] in ORDER else 0, one["name"]))
    in_force = told["baseline"]
    return {
        **{name: told[name] for name in ("enabled", "window", "until", "next", "reason", "unwatched", "cohorts",
                                         "before_labels", "multiplicity") if name in told},
        "vectors": told.get("vectors", []),
        "baseline": desk.baseline(in_force["name"], in_force["version"]) if in_force is not None else None,
        "baselines": desk.baselines(), "budget": budget(told, findings), "streams": streams,
        "open": [{"stream": one["name"], "finding": by_id[one["open"]]} for one in streams if one["open"] in by_id],
        "findings": findings[:SHOWN]}


def budget(told: Mapping[str, Any], findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Promised beside delivered: alarms since the baseline, true ones too, and how many of them may be false."""
    promised, refused = told["false_alarms_per_month"], told["refused"]
    made: dict[str, Any] = {"promised": promised, "monitors": len(told["monitors"]), "refused": list(refused.values()),
                            "alarms": 0, "pages": 0, "days": 0.0, "allowed": None}
    if told["baseline"] is None or not told["until"]:
        return made
    begun, end = _time(told["baseline"]["to"]), max(map(_time, told["until"].values()))
    if end <= begun:
        return made
    alarms = [one for one in findings if one["status"] in ("drift", "invalid") and one["severity"] != "info"
              and one["subject"].startswith("stream:") and _time(one["time"]) >= begun]
    days = (end - begun) / timedelta(days=1)
    return {**made, "alarms": len(alarms), "pages": sum(one["severity"] == "page" for one in alarms), "days": days,
            "allowed": promised * days * 24 / HOURS_PER_MONTH}


def _stream(row: Mapping[str, Any]) -> dict[str, Any]:
    """One monitor: how it stands, its part of the budget, and its windows' evidence beside its threshold."""
    part = row["budget"]
    return {**{name: row[name] for name in ("name", "status", "severity", "reason", "since", "open", "next")},
            "soonest": part["soonest"], "per_month": part["false_alarms_per_month"], "windows": part["windows"],
            "method": METHODS.get(part["method"], part["method"]), "threshold": 1 / part["alpha"],
            "points": [_point(seen, over_time=part["method"] in OVER_TIME) for seen in row["recent"]]}


def _point(seen: Mapping[str, Any], *, over_time: bool) -> dict[str, Any]:
    """One window: evidence is the e-value over time, else 1 / p; None where it could not be judged."""
    p, judged = seen.get("p_value"), seen["status"] in ("ok", "drift")
    value = seen.get("e_value") if over_time else (1 / p if p else None)
    return {"window": str(seen["start"]), "evidence": value if judged else None, "n": seen.get("n", 0),
            "status": seen["status"].replace("_", " "), "statistic": (seen.get("statistic") or "").replace("_", " ")}


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
