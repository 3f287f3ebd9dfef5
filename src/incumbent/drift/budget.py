"""The budget of false alarms: so many a month in all, split over monitors, and said at start who cannot keep to it.

A monitor that looks k times a month and may be wrong f times works at ``alpha = f / k``. Whether it can depends on its
baseline: a rank among m windows is never below 1 / (m + 1), so 50 windows cannot carry an hourly monitor at one alarm
a month. Such a monitor is refused, unless a tail was asked for by name; nothing is extrapolated in silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import structs

from incumbent.drift.detector import Result
from incumbent.drift.null import LEAST
from incumbent.drift.sequential import BETS, calibrated, e_step, mixed_step
from incumbent.errors import ConfigError
from incumbent.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, e_bh

HOURS_PER_MONTH = 730.5  # 365.25 days / 12
SLOWEST_HOURS = 90 * 24.0  # until a total collapse is told, for a bounded mean to be worth watching
Kind = Literal["rank", "tail", "e_detector", "e_rank"]
Method = Literal["bonferroni", "bh", "by", "e_bh"]


@dataclass(frozen=True)
class Monitor:
    """One stream to watch: how often it looks, how its alarm is made, and its weight in the budget.

    `kind`: ``rank`` (a conformal p-value per window), ``tail`` (the same with a tail asked for), ``e_detector`` (a
    bounded mean over time), ``e_rank`` (ranks multiplied over time). `windows`: those of its baseline that match one
    current window, so with hour-of-week matching the number of weeks. `harm`: of an e-detector, what a bet of 1 wins on
    a total collapse (`BoundedRisk.worst`), where that is known.
    """

    name: str
    every_hours: float
    windows: int = 0
    weight: float = 1.0
    kind: Kind = "rank"
    harm: float | None = None


@dataclass(frozen=True)
class Part:
    """A monitor's part: false alarms a month, the alpha of each look that makes, and whether its baseline carries it.

    For e-detectors alpha is of the run length: an alarm at ``M >= 1 / alpha``, 1 / alpha looks or more on average, and
    `soonest` is the number of windows until the clearest change (a total collapse of a bounded mean) is told.
    """

    monitor: Monitor
    false_alarms_per_month: float
    alpha: float
    resolution: float | None
    needs_windows: int
    honoured: bool
    reason: str
    soonest: int | None = None

    @property
    def extrapolated(self) -> bool:
        """Is it honoured by a tail beyond its windows alone?"""
        return self.honoured and self.monitor.kind == "tail" and self.resolution is not None \
            and self.resolution > self.alpha * (1 + 1e-9)


@dataclass(frozen=True)
class Budget:
    """The parts of all monitors, in the order given."""

    false_alarms_per_month: float
    parts: tuple[Part, ...]

    @property
    def refused(self) -> tuple[Part, ...]:
        """The parts that cannot be honoured: say so at start."""
        return tuple(part for part in self.parts if not part.honoured)

    @property
    def alphas(self) -> dict[str, float]:
        """The alpha of every monitor that is honoured, by name."""
        return {part.monitor.name: part.alpha for part in self.parts if part.honoured}


def split(false_alarms_per_month: float, monitors: Sequence[Monitor]) -> Budget:
    """Split the budget by weight; every monitor gets its alpha, and whether its baseline windows can carry it.

    Expected false alarms add whatever the dependence, so the whole keeps to the budget if every part does. The part of
    a monitor that is refused is not spent by the others. `ConfigError` with every mistake at once.

    >>> budget = split(1.0, [Monitor("items", every_hours=1, windows=50), Monitor("queries", every_hours=24, windows=90)])
    >>> [part.honoured for part in budget.parts]
    [False, True]
    >>> print(budget.refused[0].reason)
    items: 50 windows cannot carry 0.5 false alarms a month at 730.5 looks: p is never below 1/51 and must reach 0.00068. It takes 1460 windows, fewer looks, more of the budget, an e-detector, or a tail asked for by name
    """  # noqa: E501
    problems = _problems(false_alarms_per_month, monitors)
    if problems:
        raise ConfigError("the budget of false alarms cannot be split", problems=tuple(problems))
    whole = sum(monitor.weight for monitor in monitors)
    return Budget(false_alarms_per_month, tuple(
        _part(monitor, false_alarms_per_month * monitor.weight / whole) for monitor in monitors))


def _part(monitor: Monitor, share: float) -> Part:
    looks = HOURS_PER_MONTH / monitor.every_hours
    alpha = min(share / looks, 0.5)
    resolution = None if monitor.kind == "e_detector" else 1 / (monitor.windows + 1)
    name = monitor.name
    if monitor.kind == "e_detector":
        return _bounded(monitor, share, alpha)
    if monitor.kind == "e_rank":
        return _over_time(monitor, share, alpha)
    needs = math.ceil(1 / alpha - 1e-9) - 1
    if monitor.windows >= needs:
        return Part(monitor, share, alpha, resolution, needs, True, f"{name}: alarm at p <= {alpha:.2g}")
    if monitor.kind == "tail" and monitor.windows >= LEAST:
        return Part(monitor, share, alpha, resolution, LEAST, True,
                    f"{name}: alarm at p <= {alpha:.2g}, extrapolated from {monitor.windows} windows")
    return Part(monitor, share, alpha, resolution, needs, False,
                f"{name}: {monitor.windows} windows cannot carry {share:.3g} false alarms a month at {looks:.4g} "
                f"looks: p is never below 1/{monitor.windows + 1} and must reach {alpha:.2g}. It takes {needs} "
                "windows, fewer looks, more of the budget, an e-detector, or a tail asked for by name")


def _bounded(monitor: Monitor, share: float, alpha: float) -> Part:
    """A bounded mean: any budget, unless even a total collapse would be told too late to be of use."""
    name, said = monitor.name, f"{monitor.name}: alarm at evidence {1 / alpha:.4g}"
    if monitor.harm is None:
        return Part(monitor, share, alpha, None, 0, True, said)
    most = int(SLOWEST_HOURS / monitor.every_hours)
    looks = soonest_harm(monitor.harm, alpha, most)
    if looks is None:
        return Part(monitor, share, alpha, None, 0, False, f"{name}: a total collapse makes no evidence of "
                    f"{1 / alpha:.4g} in {most} windows: it takes more rows a window, a larger share, or more of the "
                    "budget")
    return Part(monitor, share, alpha, None, 0, True, f"{said}, about {looks} windows after a total collapse", looks)


def _over_time(monitor: Monitor, share: float, alpha: float) -> Part:
    """Ranks multiplied: any budget at a price in time, unless a change drowns in its own ranks before it shows."""
    resolution = 1 / (monitor.windows + 1)
    looks = soonest(monitor.windows, alpha) if monitor.windows >= LEAST else None
    if looks is None:
        return Part(monitor, share, alpha, resolution, LEAST, False, f"{monitor.name}: ranks among {monitor.windows} "
                    f"windows never make evidence of {1 / alpha:.4g}, however clear a change is: it takes more windows")
    return Part(monitor, share, alpha, resolution, LEAST, True, f"{monitor.name}: alarm at evidence {1 / alpha:.4g}, "
                f"about {looks} windows after the clearest change", looks)


def soonest(windows: int, alpha: float, most: int = 1000) -> int | None:
    """Windows until an e-SR of ranks alarms, if all after a change pass all before it; None beyond `most`.

    The t-th of them has about half of those since the change above it: ``p = (1 + (t - 1) / 2) / (m + t)``.

    >>> soonest(50, 1 / 730), soonest(8, 1e-9)
    (12, None)
    """
    log_m: float | None = None
    for t in range(1, most + 1):
        log_m = e_step(log_m, calibrated((1 + (t - 1) / 2) / (windows + t)))
        if log_m >= -math.log(alpha):
            return t
    return None


def soonest_harm(harm: float, alpha: float, most: int = 1000) -> int | None:
    """Windows until the e-SR detectors of a bounded mean alarm, if every window wins `harm` at a bet of 1 (and the
    detector begins with the harm); None beyond `most`.

    >>> soonest_harm(0.02 / 0.98, 1 / 365), soonest_harm(2.0, 1 / 365), soonest_harm(0.0, 1 / 365)
    (151, 7, None)
    """
    logs: list[float] | None = None
    for t in range(1, most + 1 if harm > 0 else 1):
        logs, log_m = mixed_step(logs, [math.log1p(bet * harm) for bet in BETS])
        if log_m >= -math.log(alpha):
            return t
    return None


def within_tick(
    results: Mapping[str, Result], alphas: Mapping[str, float], method: Method = "bonferroni"
) -> dict[str, Result]:
    """One tick's results, judged together: drift where the stream is rejected, weighted by alpha, ok where it is not.

    ``bonferroni`` holds every stream to its own alpha: false alarms add up to the budget whatever the dependence. The
    others limit the share of false ones among the alarms of a tick, at the sum of the alphas of the streams that look:
    one alarm lets its neighbours in above their alpha, so that streams that move together deliver more false alarms
    than the budget counts (20 of one promised a month: 1.2 independent, 6.8 at a correlation of .9). ``e_bh`` takes
    e-values, the others p-values. Results that are not ok or drift, or whose stream has no alpha, come back untouched;
    a drift that is taken back says so.
    """
    value = "e_value" if method == "e_bh" else "p_value"
    names = [name for name, one in results.items()
             if name in alphas and one.status in ("ok", "drift") and getattr(one, value) is not None]
    if not names:
        return dict(results)
    weights = np.array([alphas[name] for name in names])
    level = min(float(weights.sum()), 0.5)
    values = [getattr(results[name], value) for name in names]
    if method == "bonferroni":
        rejected = np.array(values) <= weights
    else:
        test = {"bh": benjamini_hochberg, "by": benjamini_yekutieli, "e_bh": e_bh}[method]
        rejected = test(values, level, weights).rejected
    return {**results, **{name: _marked(results[name], bool(hit), len(names), level, method)
                          for name, hit in zip(names, rejected, strict=True)}}


def _marked(result: Result, rejected: bool, streams: int, level: float, method: Method) -> Result:
    if rejected == (result.status == "drift"):
        return result
    said = f"{'an' if rejected else 'no'} alarm among {streams} streams at {level:.3g} in all ({method})"
    severity = "ticket" if rejected else "info"
    return structs.replace(result, status="drift" if rejected else "ok", severity=severity,
                           reason=f"{result.reason}; {said}")


def _problems(total: float, monitors: Sequence[Monitor]) -> list[str]:
    found = [] if 0 < total < math.inf else [f"false_alarms_per_month must be above 0. Got {total}."]
    names = [monitor.name for monitor in monitors]
    found += [f"monitor {name} is there twice." for name in sorted({name for name in names if names.count(name) > 1})]
    found += [] if monitors else ["there are no monitors to split it over."]
    for monitor in monitors:
        if not 0 < monitor.every_hours < math.inf:
            found.append(f"{monitor.name}: every_hours must be above 0. Got {monitor.every_hours}.")
        if not 0 < monitor.weight < math.inf:
            found.append(f"{monitor.name}: weight must be above 0. Got {monitor.weight}.")
        if monitor.windows < 0:
            found.append(f"{monitor.name}: windows cannot be negative. Got {monitor.windows}.")
    return found
