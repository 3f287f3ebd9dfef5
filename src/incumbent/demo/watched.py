"""What the service saw beside the experiment: drift against the baseline, metrics, and what came in at the door.

Asked of the desk, which answers page, API and command line too. Beside each finding of drift stand the causes that are
known of those days: campaigns of the data, and holidays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from incumbent.demo.data import SPLIT, Campaign
from incumbent.demo.settings import BASELINE, BASELINE_DAYS, SURFACE
from incumbent.demo.wire import Wire
from incumbent.errors import DataError
from incumbent.service.desk import Desk

#: a campaign that began or ended so long before a window may be its cause; a holiday lies ahead of its shopping
AROUND = timedelta(days=7)
HOLIDAYS = (("Halloween", date(2017, 10, 31)), ("Thanksgiving", date(2017, 11, 23)), ("Christmas", date(2017, 12, 25)))


@dataclass(frozen=True)
class Watched:
    """What `incumbent demo --json` prints of it. `drift`: the baseline or why there is none, streams with their status,
    windows judged, findings with known causes. `metrics`: how many have a value, of the surface and of its models, over
    the last week, and which were outside their band on the last whole day. `door`: checks of the last day judged, and
    the unusual ones.
    """

    drift: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    door: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


async def build_baseline(wire: Wire) -> str | None:
    """Build the baseline of the first days, as a person would; why there is none where the service refuses."""
    last = SPLIT.date() + timedelta(days=BASELINE_DAYS - 1)
    try:
        await wire.post("/v1/baselines", {
            "from": SPLIT.date().isoformat(), "to": last.isoformat(), "name": BASELINE, "actor": "demo",
            "leave_out_unstable": True, "reason": "the first six weeks of the replay"}, packed=False)
    except DataError as error:
        return f"the service refused it: {error.hint or error.got}"
    return None


def watched(desk: Desk, campaigns: Sequence[Campaign], refused: str | None = None) -> Watched:
    """Everything as it stands at the service's own time; `refused` says why no baseline was built."""
    return Watched(_drift(desk, campaigns, refused), _metrics(desk), _door(desk))


def _drift(desk: Desk, campaigns: Sequence[Campaign], refused: str | None) -> dict[str, Any]:
    found = desk.drift()
    days = (desk.clock.now() - SPLIT).days
    baseline, why = found["baseline"], None
    if baseline is None:
        why = refused or f"the replay ended after {days} days, the baseline takes the first {BASELINE_DAYS}"
    findings = [_finding(one, campaigns) for one in desk.drift_findings(None, 200)
                if one["check"] != "drift:budget"] if baseline else []
    since = None if baseline is None else datetime.fromisoformat(baseline["to"])
    return {
        "baseline": None if baseline is None else {
            "from": baseline["from"][:10], "until": baseline["to"][:10], "windows": baseline["windows"],
            "left_out": baseline["left_out"], "unstable": baseline["unstable"]},
        "reason": why, "false_alarms_per_month": found["false_alarms_per_month"],
        "days_judged": 0 if since is None else max((until - since).days for until in (
            since, *map(datetime.fromisoformat, found["until"].values()))),
        "streams": {one["name"]: one["status"] for one in found["monitors"]},
        "findings": findings[::-1]}


def _finding(one: dict[str, Any], campaigns: Sequence[Campaign]) -> dict[str, Any]:
    evidence = one.get("evidence", {})
    day = datetime.fromisoformat(str(evidence.get("window", {}).get("start", one["time"]))).date()
    return {"stream": one["subject"].removeprefix("stream:"), "day": day.isoformat(), "status": one["status"],
            "severity": one["severity"], "reason": one["reason"],
            "moved": evidence.get("explanation", {}).get("text"),
            "known": known_causes(day, campaigns) if one["status"] == "drift" else []}


def known_causes(day: date, campaigns: Sequence[Campaign]) -> list[str]:
    """What is known to have been about a day: holidays within a week after it, campaigns that began or ended within a
    week before.

    >>> known_causes(date(2017, 11, 1), [Campaign("campaign 18 (Type A)", date(2017, 10, 30), date(2017, 12, 24))])
    ['Halloween on 2017-10-31', 'campaign 18 (Type A) began on 2017-10-30']
    >>> known_causes(date(2017, 10, 1), [])
    []
    """
    told = [f"{name} on {when}" for name, when in HOLIDAYS if -AROUND / 3 <= when - day <= AROUND]
    for one in campaigns:
        told += [f"{one.name} {word} on {when}" for word, when in (("began", one.start), ("ended", one.end))
                 if timedelta() <= day - when <= AROUND]
    return told


def _metrics(desk: Desk) -> dict[str, Any]:
    [tree] = desk.metrics(SURFACE)
    nodes = [node for node in tree["nodes"] if node["value"]["value"] is not None]
    models = {one["name"]: sum(node["value"]["value"] is not None for node in one["nodes"]) for one in tree["models"]}
    return {"since": tree["since"], "until": tree["until"], "surface": len(nodes), "models": models,
            "outside_band": {node["name"]: node["status"] for node in nodes
                             if node["status"] in ("good", "bad", "changed")}}


def _door(desk: Desk) -> dict[str, Any]:
    found = desk.door()
    checks = [(kind["title"], one) for kind in found["kinds"] for one in kind["checks"]]
    return {"day": found["day"], "checks": len(checks),
            "unusual": [f"{title}: {one['check']}" for title, one in checks if one["status"] == "drift"],
            "refused": desk.quarantine({"limit": 1})["total"]}
