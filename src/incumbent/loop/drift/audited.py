"""audited: a baseline replayed against itself, as it would be judged: promised false alarms beside delivered ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from incumbent.config import Config
from incumbent.drift.audit import audit
from incumbent.drift.budget import HOURS_PER_MONTH, Method, within_tick
from incumbent.drift.detector import BaselineWindow, Reference, Result
from incumbent.errors import DataError
from incumbent.events.window import Window
from incumbent.loop.drift import baselines, ledger, replaced
from incumbent.loop.drift.shards import grid_of
from incumbent.loop.drift.status import summary
from incumbent.loop.drift.watch import Watch, alphas, watches
from incumbent.stats.binomial import proportion
from incumbent.stores.store import Control

STRETCHES = 4
Progress = Callable[[str, int, int], None]


@dataclass
class Replayed:
    """One judge's results by window, or why it has none."""

    watch: Watch
    reason: str
    results: dict[Window, Result] = field(default_factory=dict)


def audited(control: Control, config: Config, name: str | None = None, version: int | None = None,
            progress: Progress | None = None) -> dict[str, Any]:
    """Replay a baseline against itself: every stretch judged against the windows outside it, promised beside delivered.

    Windows of one place in the season are audited together, and the streams of one window judged together as
    `multiplicity` says. ``delivered_per_month`` is of the judges that could be judged; a judge that cannot honour its
    part, or whose stream the configuration counts otherwise, is not, and says why.
    """
    baseline = baselines.active(control) if name is None else baselines.find(control, name, version)
    if baseline is None:
        raise DataError("there is no baseline to audit", got="none in force", hint=baselines.HOW)
    if (told := baselines.changed(baseline, config.drift)):
        raise DataError("the baseline is of another configuration", got=told, hint=baselines.AGAIN)
    watched, _ = watches(baseline, config.drift, replaced.of(ledger.read(control), baseline))
    looks = HOURS_PER_MONTH / grid_of(config.drift).hours
    replayed = []
    for i, watch in enumerate(watched):
        if progress is not None:
            progress("audit", i, len(watched))
        replayed.append(_replayed(watch))
    together(replayed, config.drift.multiplicity)
    rows = [_row(one, looks) for one in replayed]
    judged = [row for row in rows if row["judged"]]
    promised = sum(row["promised_per_month"] for row in judged)
    delivered = sum(row["alarms"] / row["judged"] * looks for row in judged)
    return {"baseline": summary(baseline, in_force=name is None), "budget": config.drift.false_alarms_per_month,
            "multiplicity": config.drift.multiplicity, "promised_per_month": promised, "delivered_per_month": delivered,
            "alarms": sum(row["alarms"] for row in rows), "judged": sum(row["judged"] for row in rows),
            "refused": {row["name"]: row["reason"] for row in rows if not row["honoured"]}, "monitors": rows}


def _replayed(watch: Watch) -> Replayed:
    found = Replayed(watch, watch.outdated or watch.part.reason)
    if not watch.part.honoured or watch.outdated:
        return found
    places: dict[str, list[BaselineWindow]] = {}
    for window in watch.windows:
        if window.period is not None and watch.calendar.event(window.period) is None:
            places.setdefault(watch.season.key(window.period), []).append(window)
    for windows in places.values():
        held = sum(not window.fitted for window in windows)
        if held >= STRETCHES:
            report = audit(watch.detector, Reference(tuple(windows)), stretches=_stretches(watch, held))
            found.results |= {windows[i].period: result  # type: ignore[misc]
                              for i, result in report.results.items()}
            if not report.results and report.delivered.reason:
                found.reason = report.delivered.reason
    return found


def together(replayed: Iterable[Replayed], method: Method) -> None:
    """The alarms of one window, judged together as a tick's are."""
    by_window: dict[Window, dict[str, Result]] = {}
    for one in replayed:
        for window, result in one.results.items():
            by_window.setdefault(window, {})[one.watch.name] = result
    parts = alphas((one.watch for one in replayed), method)
    said = {window: within_tick(results, parts, method) for window, results in by_window.items()}
    for one in replayed:
        one.results = {window: said[window][one.watch.name] for window in one.results}


def _row(one: Replayed, looks: float) -> dict[str, Any]:
    part = one.watch.part
    alarms, judged = sum(result.status == "drift" for result in one.results.values()), len(one.results)
    row: dict[str, Any] = {
        "name": one.watch.name, "monitor": one.watch.judge.monitor, "method": part.monitor.kind,
        "honoured": part.honoured, "promised": part.alpha, "promised_per_month": part.alpha * looks, "alarms": alarms,
        "judged": judged, "delivered": None, "kept": None, "reason": one.reason}
    if judged:
        share = proportion(alarms, judged, unit="alarms/window")
        row["delivered"], row["kept"] = share.to_dict(), (share.low or 0.0) <= part.alpha
    return row


def _stretches(watch: Watch, held: int) -> int:
    """The fewest stretches, four or more, of which each leaves as many windows as the detector needs; four where none
    does, and then it says that it cannot judge."""
    needs = watch.detector.least_windows()
    return next((n for n in range(STRETCHES, held // 2 + 1) if held - -(-held // n) >= needs), STRETCHES)
