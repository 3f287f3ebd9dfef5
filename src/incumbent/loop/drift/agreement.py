"""Do the windows of a baseline agree? Each third is judged against the others: a break or a trend sets one apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from incumbent.config.sections import DriftConfig
from incumbent.drift.audit import AuditReport, audit
from incumbent.drift.detector import BaselineWindow, Reference
from incumbent.drift.stretches import Ranks, excess
from incumbent.loop.drift.judges import detector, judges, usable
from incumbent.loop.drift.season import calendar_of, season_of

ODD = 0.3  # a window's rank among those outside its stretch, for it to count as far off
STRETCHES = 3  # of a baseline that is audited against itself


@dataclass
class Stretch:
    """One of the parts that a baseline is audited in: its ranks in every place of the season, and where it begins."""

    ranks: list[Ranks] = field(default_factory=list)
    start: datetime | None = None


def agreement(
    name: str, kind: str, windows: list[BaselineWindow], config: DriftConfig, *, alpha: float
) -> tuple[str, bool]:
    """What an audit of a stream's windows against themselves says, at an alpha that they can carry, and whether they
    agree; where they are exchangeable they are refused with a chance of `alpha` at most."""
    judge = next((one for one in judges(name) if one.risk is None), None)
    if judge is None:
        return "not compared: judged over time, against a bound", True
    season, calendar = season_of(config, windows), calendar_of(config)
    places: dict[str, list[BaselineWindow]] = {}
    for window in usable(judge, kind, windows, config.monitor(judge.monitor).least_rows):
        if window.period is not None and calendar.event(window.period) is None:
            places.setdefault(season.key(window.period), []).append(window)
    alarms, judged, promised, stretches = 0, 0, 0.0, [Stretch() for _ in range(STRETCHES)]
    for found in places.values():
        held = sum(not window.fitted for window in found)
        if held >= STRETCHES:
            tool = detector(judge, kind, config, "rank", max(0.1, 1.5 / held))
            report = audit(tool, Reference(tuple(found)), stretches=STRETCHES)
            alarms, judged = alarms + len(report.alarms), judged + len(report.results)
            promised += tool.alpha * len(report.results)
            _ranked(stretches, found, report)
    if not judged:
        return "not compared: too few windows of one place in the season", True
    said = f"{alarms} of {judged} windows alarm against the others, {promised:.2g} are promised"
    apart = _apart(stretches, alpha, promised / judged)
    return (f"{said}; {apart}", False) if apart else (said, True)


def _ranked(stretches: list[Stretch], windows: list[BaselineWindow], report: AuditReport) -> None:
    """Put the p-values of one place's audit to their stretches."""
    places = [i for i, window in enumerate(windows) if not window.fitted]
    for stretch, part in zip(stretches, np.array_split(np.array(places), STRETCHES), strict=True):
        told = [one for i in part.tolist() if (one := report.results.get(i)) is not None and one.p_value is not None]
        if told:
            stretch.ranks.append(Ranks(tuple(one.p_value for one in told if one.p_value is not None), told[0].windows))
            start = windows[int(part[0])].period.start  # type: ignore[union-attr]
            stretch.start = start if stretch.start is None else min(start, stretch.start)


def _apart(stretches: list[Stretch], alpha: float, promised: float) -> str:
    """A stretch with more windows far from all others than chance makes of it, where there is one: with alarms, or (a
    break hides those, since windows after it are in one another's null) with ranks of at most `ODD`. `alpha` in all."""
    for level in (promised, ODD):
        for stretch in stretches:
            found = excess(stretch.ranks, level)
            if found.tail < alpha / (2 * STRETCHES):
                return (f"{found.count} of the {found.judged} windows from {stretch.start:%Y-%m-%d} on are apart from "
                        f"the others, {found.expected:.1f} would be")
    return ""
