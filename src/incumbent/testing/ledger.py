"""What the world outside a simulated system knows: promises, what was shown, and what broke a promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from incumbent.events.schema import Impression
from incumbent.loop.ingest import Receipt
from incumbent.loop.requests import RecommendationAnswer, RecommendationRequest
from incumbent.testing.simulated_processes import POLL_S, Front

_SLACK_S = 0.01  # what a poll itself may take


class Answered(Struct, frozen=True, gc=False):
    """One answer that a shopper got."""

    user: str
    front: str
    durable: bool  # the front waits for the disk before it answers
    at_s: float
    items: tuple[str, ...]
    logged: bool


class Ledger:
    """Promises as their receivers noted them, and every broken one in `violations`."""

    def __init__(self) -> None:
        self.answers: dict[str, Answered] = {}  # by event id of the impression
        self.made: set[str] = set()  # impressions that a gateway made and nobody has got as an answer
        self.accepted: dict[str, tuple[str, str]] = {}  # event id -> user, item
        self.sent: set[str] = set()  # events that were ever on their way
        self.rejected = 0
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.violations: list[str] = []
        self.erased: set[str] = set()
        self.deaths: dict[str, float] = {}  # front -> when it died
        self._excluded: dict[str, dict[str, tuple[float, str]]] = {}
        self._delisted: dict[str, float] = {}
        self.slowest_ms = 0.0

    def violation(self, text: str) -> None:
        """Note a broken promise; a hundred are enough to see what is wrong."""
        if len(self.violations) < 100:
            self.violations.append(text)

    def observe(self, impression: Impression) -> None:
        """A gateway made this impression."""
        self.made.add(impression.event_id)

    def answered(self, front: Front, request: RecommendationRequest, answer: RecommendationAnswer, began: float,
                 now: float, deadline_s: float) -> None:
        """A shopper got an answer: in time, and nothing in it that must not be shown?"""
        self.counts["answered"] += 1
        self.counts[f"mode {answer.mode}"] += 1
        if now - began > deadline_s + 1e-6:
            self.violation(f"answered after {now - began:.3f} s, the deadline is {deadline_s} s")
        self.slowest_ms = max(self.slowest_ms, (now - began) * 1000)
        shown = tuple(item.item_id for item in answer.items)
        hidden = self._hidden(request, front.name, began)
        if len(set(shown)) != len(shown) or not hidden.isdisjoint(shown):
            self.violation(f"{request.user_id} was shown {shown}; hidden: {sorted(hidden)}")
        event_id = answer.request_id.partition(".")[0]
        if event_id not in self.made:
            self.violation(f"an answer was made without an impression, or given twice: {event_id}")
        self.made.discard(event_id)
        self.answers[event_id] = Answered(request.user_id, front.name, front.durable, now, shown, answer.logged)

    def _hidden(self, request: RecommendationRequest, front: str, began: float) -> set[str]:
        """What no answer to this request may show: exclusions hold at once on the front that took them, and within a
        poll elsewhere, as a delisting does everywhere."""
        known = began - POLL_S - _SLACK_S
        hidden = {item for item, since in self._delisted.items() if since <= known}
        hidden |= {item for item, (since, where) in self._excluded.get(request.user_id, {}).items()
                   if since <= known or (where == front and since <= began)}
        return hidden.union(request.exclude)

    def taken(self, front: Front, events: Sequence[dict[str, object]], receipt: Receipt, now: float) -> None:
        """A collector acknowledged a batch."""
        refused = {item.index for item in receipt.items if item.status == "rejected"}
        for index, event in enumerate(events):
            if index in refused:
                if "broken" not in str(event["session_id"]):
                    self.violation(f"a sound event was refused: {event}, {receipt.items}")
                self.rejected += 1
                continue
            user, item = str(event["user_id"]), str(event["item_id"])
            self.accepted[str(event["event_id"])] = (user, item)
            if event["action"] == "exclude":
                self._excluded.setdefault(user, {}).setdefault(item, (now, front.name))
        if receipt.accepted + receipt.duplicate + receipt.rejected != len(events):
            self.violation(f"a receipt counts {receipt} of {len(events)} events")

    def delist(self, items: Sequence[str], now: float) -> None:
        """These items, and no others, are delisted from now on."""
        self._delisted = {item: self._delisted.get(item, now) for item in items}

    def erase(self, user: str) -> None:
        """Forget a user, as the system must."""
        self.erased.add(user)
        self._excluded.pop(user, None)
