"""live: what happened in the last hour and the last day, within seconds and provisional.

The sealer's process feeds it what it has just put into the lake. Credit is by impression only: an outcome counts for
the owner of the slot that its own request id names. Exact numbers are the outcomes' (`attribute`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from msgspec import Struct

from incumbent.clock import EPOCH, Clock
from incumbent.events.schema import Feedback, Impression
from incumbent.experiments.credit import COMPETITIVE, MONEYLESS
from incumbent.loop.foreign import MARK
from incumbent.stats.counts import Counts
from incumbent.stores.store import Control, StateRow

FAMILY = "live"
DAY = date(1970, 1, 1)  # live states are of no day: the one shard of a host is replaced every time
SPANS = {"hour": 60, "day": 1440}  # in minutes
ACTIONS = ("click", "add_to_cart", "purchase", "refund")


class _Shown(Struct, frozen=True, gc=False):
    """What credit needs of one request: about one kilobyte."""

    user_id: str
    surface: str
    owners: dict[str, str]  # item -> owner of its competitive slot, "neutral" for the others


class LiveTally:
    """Counts by minute of the last day, in bounded memory.

    Outcomes that name somebody else's request, and their money, count for the owner ``foreign_user``.

    At most `max_requests` requests are remembered, oldest out first (about 1 kB each): an outcome whose request is no
    longer there counts as ``unmatched``. Events older than a day count no more; those ahead of the clock count now.
    After a restart the numbers begin anew.

    >>> from incumbent.clock import ManualClock
    >>> from incumbent.testing.golden import impression
    >>> tally = LiveTally(ManualClock(EPOCH))
    >>> tally.add([impression("r1", EPOCH, "u1", "home", "-", ["a:solo:C"])])
    >>> tally.counts("hour")["requests"]
    Counter({'home/champion': 1})
    """

    def __init__(self, clock: Clock, *, max_requests: int = 50_000) -> None:
        self._clock = clock
        self._max_requests = max_requests
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._minutes: dict[int, dict[str, Counter[str]]] = {}

    def add(self, events: Iterable[Any]) -> None:
        """Count events in any order; an outcome that comes before its request is unmatched. Others than impressions and
        feedback are passed over."""
        now = _minute(self._clock.now())
        for event in events:
            if isinstance(event, Impression):
                self._remember(event)
                self._count(now, event.time, "requests", f"{event.surface}/{event.mode}")
            elif isinstance(event, Feedback) and event.action in ACTIONS and not set(event.marks) & set(MONEYLESS):
                self._outcome(now, event)
        for minute in [minute for minute in self._minutes if minute <= now - SPANS["day"]]:
            del self._minutes[minute]

    def counts(self, span: str) -> dict[str, Counter[str]]:
        """`requests` by SURFACE/MODE, `actions` by SURFACE/ACTION/OWNER, `value_minor` by SURFACE/CURRENCY/OWNER."""
        since = _minute(self._clock.now()) - SPANS[span]
        out: dict[str, Counter[str]] = {"requests": Counter(), "actions": Counter(), "value_minor": Counter()}
        for minute, kinds in self._minutes.items():
            if minute > since:
                for kind, counter in kinds.items():
                    out[kind].update(counter)
        return out

    def publish(self, control: Control, host: int = 0) -> None:
        """Replace this host's live states, with the time they are of, in one transaction."""
        rows = []
        for span in SPANS:
            for kind, counter in self.counts(span).items():
                state = Counts.zero().update(list(counter), list(counter.values()))
                rows.append(StateRow(f"live/{span}/{kind}", DAY, host, state.name, state.config_hash,
                                     state.to_bytes()))
        control.put(DAY, host, FAMILY, rows, (f"live/{host}", self._clock.now().isoformat()))

    def forget(self, user_id: str) -> None:
        """Remember no request of a shopper any more; the counts hold no ids."""
        for request in [request for request, shown in self._shown.items() if shown.user_id == user_id]:
            del self._shown[request]

    @property
    def remembered(self) -> int:
        """Requests that outcomes can still be matched with."""
        return len(self._shown)

    def _remember(self, event: Impression) -> None:
        owners = {slot.item_id: slot.owner if slot.kind in COMPETITIVE and slot.owner else "neutral"
                  for slot in event.slots}
        self._shown[event.request_id] = _Shown(event.user_id, event.surface, owners)
        while len(self._shown) > self._max_requests:
            self._shown.popitem(last=False)

    def _outcome(self, now: int, event: Feedback) -> None:
        shown = self._shown.get(event.request_id) if event.request_id is not None else None
        surface, owner = "none", "unmatched"
        if MARK in event.marks or (shown is not None and shown.user_id != event.user_id):
            owner = MARK
        elif shown is not None:
            surface, owner = shown.surface, shown.owners.get(event.item_id, "unmatched")
        self._count(now, event.time, "actions", f"{surface}/{event.action}/{owner}")
        if event.action == "purchase" and event.value_minor:
            self._count(now, event.time, "value_minor", f"{surface}/{event.currency}/{owner}", event.value_minor)

    def _count(self, now: int, time: datetime, kind: str, key: str, by: int = 1) -> None:
        minute = min(_minute(time), now)
        if minute > now - SPANS["day"]:
            self._minutes.setdefault(minute, {}).setdefault(kind, Counter())[key] += by


class Live(Struct, frozen=True):
    """The live numbers of all hosts; `as_of` is of the host that is furthest behind, None where there are none."""

    as_of: datetime | None
    hour: dict[str, dict[str, int]]
    day: dict[str, dict[str, int]]
    provisional: bool = True


def read(control: Control) -> Live:
    """The live numbers as the page shows them."""
    merged: dict[str, Counts] = {}
    hosts = set()
    for row in control.range("live/"):
        state = Counts.from_bytes(row.data)
        merged[row.key] = merged[row.key].merge(state) if row.key in merged else state
        hosts.add(row.bucket)
    times = [datetime.fromisoformat(text) for host in hosts if (text := control.cursor(f"live/{host}"))]
    spans: dict[str, dict[str, dict[str, int]]] = {span: {} for span in SPANS}
    for key, state in merged.items():
        _, span, kind = key.split("/")
        spans[span][kind] = state.counts
    return Live(min(times, default=None), spans["hour"], spans["day"])


def _minute(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(minutes=1)
