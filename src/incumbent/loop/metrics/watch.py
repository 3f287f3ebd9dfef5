"""metric_watch: once a day, has a proxy stopped predicting its parent? What changed is a Finding, told once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.config import MetricsConfig
from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.events.window import day_of
from incumbent.loop.enact import told
from incumbent.loop.leases import Held
from incumbent.loop.metrics.proxies import WEEK, matured, predicts, related, stopped
from incumbent.loop.metrics.read import Reader
from incumbent.loop.metrics.set import measured
from incumbent.loop.metrics.states import cursor_of
from incumbent.loop.metrics.tree import judged_cohorts, parents
from incumbent.stores.store import Control

CURSOR = "metric_watch"
EARLIER, RECENT = 56, 42  # days that are compared
ALPHA = 0.01  # of one day, over all proxies of a surface that had predicted


class Standing(Struct, frozen=True):
    """The last day that was judged, and the proxies that have stopped, ``SURFACE/PROXY``."""

    day: date | None = None
    stopped: list[str] = []


class Watched(Struct, frozen=True):
    """What a run did."""

    proxies: int = 0
    findings: int = 0
    stopped: str | None = None


class MetricWatch:
    """Judges every proxy once a day; one process at a time, under the lease `metric_watch`."""

    def __init__(self, control: Control, clock: Clock, ids: EventIds, config: Callable[[], MetricsConfig],
                 surfaces: Callable[[], Iterable[str]], *, holder: str = "loop", lease_s: float = 30.0) -> None:
        self._control, self._clock, self._ids, self._reader = control, clock, ids, Reader(control)
        self._config, self._surfaces, self._holder, self._lease_s = config, surfaces, holder, lease_s

    def run_once(self, until: datetime | None) -> Watched:
        """Judge the last complete day, where it was not judged yet.

        `until` is the watermark that the states have reached, as of `Expectations`: a day is judged once all that was
        acknowledged on it and on the ``metrics.relevant_days`` after it, in which what is relevant comes in, is measured.
        """  # noqa: E501
        config = self._config()
        if not config.enabled:
            return Watched(stopped="metrics.enabled is false")
        if until is None:
            return Watched(stopped="nothing was measured yet")
        day = day_of(min(until, self._clock.now())) - timedelta(days=1 + config.relevant_days)
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Watched(stopped="another process holds the lease")
            standing = standing_of(self._control)
            if standing.day is not None and standing.day >= day:
                return Watched()
            proxies = findings = 0
            for surface in sorted(self._surfaces()):
                for name, parent, why, well in self._judged(surface, config, day):
                    proxies += 1
                    key, known = f"{surface}/{name}", standing.stopped
                    if why is not None and key not in known:
                        standing = msgspec.structs.replace(standing, stopped=sorted([*known, key]))
                        self._tell(surface, name, parent, why, standing)
                        findings += 1
                    elif well and key in known:
                        standing = msgspec.structs.replace(standing, stopped=[one for one in known if one != key])
            self._control.set_cursor(CURSOR, _text(msgspec.structs.replace(standing, day=day)))
            return Watched(proxies, findings)

    def _judged(self, surface: str, config: MetricsConfig, day: date) -> list[tuple[str, str, str | None, bool]]:
        """(proxy, parent, why it has stopped or None, whether it predicts now)."""
        currency = cursor_of(self._control).currencies.get(surface, "")
        known = measured(config, currency).all()
        above = parents(known, config)
        edges = [(name, parent) for name, parent in above.items()
                 if parent is not None and known[name].level in ("proxy", "quality")]
        whole = self._reader.whole(surface, day - timedelta(days=EARLIER + RECENT + 2 * WEEK), day)
        days = matured(whole, judged_cohorts(known, above), day)
        middle, week = day - timedelta(days=RECENT), timedelta(days=WEEK)
        before = middle - week  # no day is on both sides
        made = [(name, parent,
                 related(days, name, parent, before - timedelta(days=EARLIER + WEEK - 1), before),
                 related(days, name, parent, before + timedelta(days=1), day)) for name, parent in edges]
        alpha = ALPHA / max(sum(predicts(before) for _, _, before, _ in made), 1)
        return [(name, parent, stopped(before, after, alpha), predicts(after)) for name, parent, before, after in made]

    def _tell(self, surface: str, name: str, parent: str, why: str, standing: Standing) -> None:
        finding = Finding(
            event_id=self._ids.new(), time=self._clock.now(), subject=f"surface:{surface}", check=f"proxy:{name}",
            status="drift", severity="ticket", reason=f"{name} no longer predicts {parent}: {why}",
            evidence={"proxy": name, "parent": parent, "earlier_days": EARLIER, "recent_days": RECENT})
        told(self._control, finding, cursor=(CURSOR, _text(standing)))


def standing_of(control: Control) -> Standing:
    """What is known of all proxies."""
    text = control.cursor(CURSOR)
    return Standing() if text is None else msgspec.json.decode(text, type=Standing)


def _text(standing: Standing) -> str:
    return msgspec.json.encode(standing).decode()
