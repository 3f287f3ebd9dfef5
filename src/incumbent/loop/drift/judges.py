"""What is judged of every stream, by which detector, and when: a window waits until its outcomes can have come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np

from incumbent.config.sections import DriftConfig, DriftMonitor
from incumbent.drift import alarm, alarm_calibration, alarm_items, alarm_numeric
from incumbent.drift.budget import Kind
from incumbent.drift.detector import BaselineWindow, Detector, Reference
from incumbent.drift.present import present
from incumbent.drift.risk import BoundedRisk
from incumbent.drift.season import Calendar, Season
from incumbent.drift.stream import RankStream
from incumbent.drift.windowed import WindowDetector
from incumbent.loop.drift import names
from incumbent.stats.buckets import Buckets
from incumbent.stats.counts import Counts
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stats.moments import Moments
from incumbent.stats.reliability import Reliability

Group = Literal["prompt", "clicks", "conversions"]
GROUPS: tuple[Group, ...] = ("prompt", "clicks", "conversions")
KEEP = 300  # scores that a stream remembers, per place in the season
REACH = 1.25  # times its largest window in the baseline is the most that counts of a share that is worse when lower
CLICKS = 10  # of a window, for its calibration to be judged
#: what a reason calls the mean of a risk, by monitor, or by what a response is
LABELS = {"skew": "the share of items with a vector of another version", "missing": "the share missing",
          "vector_age": "the share of items with an old vector",
          "calibration": "the Brier loss of the scores", names.CLICKED: "the share clicked",
          names.CONVERTED: "the share bought", names.FAILED: "the share unanswered",
          "ndcg": "the NDCG of the clicks"}


@dataclass(frozen=True)
class Judge:
    """One thing that is judged: `name`, the `monitor` whose budget it spends, the `stream` whose states it sees.

    `of` turns the stream's states into those that are compared, `risk` says that it is a bounded mean over time; it
    `pages` where that is harm to shoppers, unless the window's state is `harmless`. `status` is what an alarm of it is
    called.
    """

    name: str
    monitor: DriftMonitor
    stream: str
    group: Group
    of: Callable[[Any], Any]
    risk: str | None = None  # the worse side: higher, lower
    status: Literal["drift", "invalid"] = "drift"
    pages: bool = False
    harmless: Callable[[Any], bool] = lambda state: False

    def lag(self, config: DriftConfig) -> timedelta:
        """How long after its end a window can be judged."""
        return {"prompt": timedelta(), "clicks": timedelta(hours=config.click_hours),
                "conversions": timedelta(days=config.conversion_days)}[self.group]


def judges(stream: str) -> Iterator[Judge]:
    """What is judged of a stream, by its name.

    >>> [judge.name for judge in judges("prices/home/popular")]
    ['prices/home/popular', 'missing/prices/home/popular']
    """
    kind = stream.partition("/")[0]
    if kind == "response":
        surface = stream.partition("/")[2]
        for what, group, worse in ((names.CLICKED, "clicks", "lower"), (names.CONVERTED, "conversions", "lower"),
                                   (names.FAILED, "prompt", "higher")):
            yield Judge(f"response/{surface}/{what}", "response", stream, group,  # type: ignore[arg-type]
                        Share(what), risk=worse, pages=True)
    elif kind == names.NDCG:
        yield Judge(stream, "ndcg", stream, "clicks", _same, risk="lower", pages=True)
    elif kind == "calibration":
        yield Judge(stream, "calibration", stream, "clicks", _same)
        yield Judge(f"loss/{stream}", "calibration", stream, "clicks", _loss, risk="higher", pages=True,
                    harmless=_more_clicks)
    elif kind == "skew":
        yield Judge(stream, "skew", stream, "prompt", _skewed, risk="higher")
    elif kind == "vector_age":
        yield Judge(stream, "vector_age", stream, "prompt", _old, risk="higher")
        yield Judge(f"missing/{stream}", "missing", stream, "prompt", _missing, risk="higher", status="invalid")
    elif kind in ("embeddings", "items", "prices", "scores", "context"):
        yield Judge(stream, kind, stream, "prompt", _same)  # type: ignore[arg-type]
        if kind != "embeddings":
            yield Judge(f"missing/{stream}", "missing", stream, "prompt", _missing, risk="higher", status="invalid")


def detector(judge: Judge, kind: str, config: DriftConfig, method: Kind, alpha: float,
             mean: float = 0.0) -> Detector:
    """The detector of a judge at its alpha: `kind` is that of the stream's frame, `mean` a risk's in the baseline."""
    least = config.monitor(judge.monitor).least_rows
    if judge.risk is not None:
        tolerance = {"missing": config.missing_tolerance, "skew": config.stale_tolerance,
                     "vector_age": config.stale_tolerance}.get(
            judge.monitor, config.error_tolerance if judge.name.endswith(names.FAILED) else config.tolerance * mean)
        return BoundedRisk(judge.monitor, worse=judge.risk, tolerance=min(tolerance, 0.99),  # type: ignore[arg-type]
                           alpha=alpha, least_rows=least, reach=REACH if judge.risk == "lower" else None,
                           label=LABELS.get(judge.monitor) or LABELS[judge.name.rpartition("/")[2]])
    if method == "e_rank":
        return RankStream(judge.monitor, _window(kind, 0.5, least), alpha=alpha, keep=KEEP)
    return _window(kind, alpha, least, tail="student" if method == "tail" else None)


def _window(kind: str, alpha: float, least: int, **more: Any) -> WindowDetector:
    settings: dict[str, Any] = {"alpha": alpha, "least_rows": least, **more}
    if kind == "vectors":
        return alarm.embedding(**settings)
    if kind in ("items", "categories"):
        return WindowDetector("items", present(alarm_items.distances), growth=alarm_items.GROWTH,
                              floors=alarm_items.FLOORS, **settings)
    if kind == "numbers":
        return WindowDetector("numeric", present(alarm_numeric.distances), growth=alarm_numeric.GROWTH,
                              floors=alarm_numeric.FLOORS, **settings)
    return alarm_calibration.calibration(**settings)


def usable(judge: Judge, kind: str, windows: list[BaselineWindow], least: int) -> list[BaselineWindow]:
    """The windows of a baseline that can be compared with, as the judge sees them: those with rows enough."""
    seen = [replace(window, state=judge.of(window.state)) for window in windows]
    return [window for window in seen if comparable(kind, window.state, least)]


def comparable(kind: str, state: Any, least: int) -> bool:
    """Has a state enough to be compared?"""
    if kind == "calibration" and not isinstance(state, Moments):
        return int(state.rows.sum()) >= least and int(state.y.sum()) >= CLICKS
    return int(state.n) >= max(least, 1)


def mean_of(windows: list[BaselineWindow]) -> float:
    """The mean of a risk over windows, each counting once; 0 without any."""
    means = [float(window.state.mean("x").value or 0.0) for window in windows]
    return float(np.mean(means)) if means else 0.0


def harm_of(judge: Judge, config: DriftConfig, windows: list[BaselineWindow], season: Season,
            calendar: Calendar) -> float | None:
    """What a bet of 1 wins when a risk collapses wholly, in the median place of the season; None where no place has
    windows enough."""
    places: dict[str, list[BaselineWindow]] = {}
    for window in windows:
        if window.period is not None and calendar.event(window.period) is None:
            places.setdefault(season.key(window.period), []).append(window)
    risk = detector(judge, "risk", config, "e_detector", 0.5, mean_of(windows))
    assert isinstance(risk, BoundedRisk)
    found = [harm for one in places.values() if (harm := risk.worst(Reference(tuple(one)))) is not None]
    return float(np.median(found)) if found else None


@dataclass(frozen=True)
class Share:
    """The share of requests with something, as moments of 0 and 1."""

    what: str

    def __call__(self, state: Counts) -> Moments:
        counts = state.counts
        return share(sum(n for key, n in counts.items() if key.startswith(f"{self.what}|")),
                     sum(n for key, n in counts.items() if key.startswith(f"{names.SHOWN}|")))


def share(ones: int, rows: int) -> Moments:
    """Moments of rows of which so many are 1 and the others 0.

    >>> made = share(3, 10)
    >>> int(made.n), round(made.mean("x").value, 9), round(made.variance("x"), 6)
    (10, 0.3, 0.233333)
    """
    zero = Moments.zero()
    return _times(zero.update([1.0]), ones, zero).merge(_times(zero.update([0.0]), rows - ones, zero))


def _times(one: Moments, count: int, zero: Moments) -> Moments:
    made = zero
    while count:
        if count & 1:
            made = made.merge(one)
        one, count = one.merge(one), count >> 1
    return made


def _missing(state: Any) -> Moments:
    """The share of rows without a sound value."""
    lost = int(state.absent.sum()) if hasattr(state, "absent") else int(state.missing)
    return share(lost, int(state.total if isinstance(state, LogHistogram) else state.n) + lost)


def _loss(state: Reliability) -> Moments:
    """The Brier loss of the rows with a label."""
    n, (total, squares) = state.labelled, state.loss[0].tolist()
    mean = total / n if n else 0.0
    return Moments({"variables": ["x"]}, n=n, missing=0, means=np.array([mean]),
                   scatter=np.array([[max(squares - n * mean**2, 0.0)]]))


def _more_clicks(state: Reliability) -> bool:
    """Came more clicks than the scores say? That raises their loss, and is no harm to shoppers."""
    least = state.observed_expected().low
    return least is not None and least > 1


def _skewed(state: Buckets) -> Moments:
    """The share of items whose newest vector is of another version than the model's, of those that have one."""
    known, other = (int(state.sums[:, state.variables.index(name)].sum()) for name in ("known", "mismatched"))
    return share(other, known)


def _old(state: LogHistogram) -> Moments:
    """The share of items whose newest vector is older than the state counts."""
    return share(state.beyond, state.total)


def _same(state: Any) -> Any:
    return state
