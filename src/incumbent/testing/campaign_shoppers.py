"""Shoppers of a kill campaign over HTTP: they ask, look, click, buy and send back, and send again until it is taken.

What a service acknowledged goes into the shopper's own file, synced, before it counts (`incumbent.demo.acks`): the
oracle of the campaign. Event ids are made once and sent with every try; a lost answer to a request is asked for again.
"""

from __future__ import annotations

import heapq
import http.client
import json
import random
import threading
from collections import Counter, deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from incumbent.clock import ReplayClock
from incumbent.demo.acks import Acks
from incumbent.events.ids import EventIds

SURFACES = ("home", "cart", "search")
USERS = 24  # of each model day, new ones: there is somebody to seal every day
REGULARS = 8  # come back day after day
K = 6
MINUTES = 15.0  # of model time, from one visit to the next
PATIENCE_S = 30.0  # of one try


class Time:
    """The model time that shoppers move and share."""

    def __init__(self, clock: ReplayClock) -> None:
        self.clock, self._guard = clock, threading.Lock()

    def pass_(self, minutes: float) -> datetime:
        """Let minutes pass; the time then."""
        with self._guard:
            self.clock.advance_to(self.clock.now() + timedelta(minutes=minutes))
            return self.clock.now()

    def reach(self, moment: datetime) -> None:
        """At least this late."""
        with self._guard:
            self.clock.advance_to(max(moment, self.clock.now()))


class Shopper(threading.Thread):
    """One thread of visits. `stop` ends it once all that it has to say was said and taken; then `error` tells."""

    def __init__(self, number: int, folder: Path, gateway: str, collector: str, time: Time, pause_s: float) -> None:
        super().__init__(name=f"shopper-{number}", daemon=True)
        self.acks = folder / f"shopper-{number}.acks"
        self.shown: dict[str, tuple[str, ...]] = {}  # impression -> items, of every answer that was acknowledged
        self.asked: set[str] = set()  # ranking ids of all requests
        self.sent: dict[str, dict[str, Any]] = {}  # all events that were ever on their way
        self.tally: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._number, self._gateway, self._collector, self._time, self._pause_s = (
            number, gateway, collector, time, pause_s)
        self._rng, self._ids = random.Random(f"shopper {number}"), EventIds(time.clock)
        self._due: list[tuple[datetime, int, dict[str, Any]]] = []
        self._taken: deque[dict[str, Any]] = deque(maxlen=400)  # days old at most: the collector refuses a month
        self._ending = threading.Event()

    def stop(self) -> None:
        """Say the rest and end."""
        self._ending.set()

    def run(self) -> None:
        try:
            with Acks(self.acks) as self._acks:
                while not self._ending.wait(self._pause_s):
                    self._visit()
                    self._send(self._time.pass_(MINUTES))
                while self._due:
                    self._time.reach(self._due[0][0])
                    self._send(self._time.clock.now())
        except BaseException as error:  # told by who joins
            self.error = error

    # --------------------------------------------------------------------------------------------------------- visits
    def _visit(self) -> None:
        rng, user = self._rng, self._who()
        ranking = f"{self._number}/{len(self.asked)}"
        self.asked.add(ranking)
        _, answer = self._post(self._gateway, "/v1/recommendations", {
            "surface": rng.choice(SURFACES), "user_id": user, "k": K, "ranking_id": ranking})
        if not answer["logged"]:
            self.tally["answered without record"] += 1
            return
        impression, items = answer["request_id"].partition(".")[0], [item["item_id"] for item in answer["items"]]
        self._acks.requests([impression])
        self._acks.sync()
        self.shown[impression] = tuple(items)
        now = self._time.clock.now()
        for item in rng.sample(items, rng.randint(0, 2)):
            self._plan(now, 0.0, user, item, "click", request_id=answer["request_id"])
            if rng.random() < 0.5:
                self._buy(now, user, item, answer["request_id"])
        if rng.random() < 0.1:
            self._buy(now, user, f"book-{rng.randint(1, 25)}", None)

    def _who(self) -> str:
        """One of today's, or now and then a regular."""
        if self._rng.random() < 0.25:
            return f"regular-{self._rng.randrange(REGULARS)}"
        return f"user-{self._time.clock.now():%m%d}-{self._rng.randrange(USERS)}"

    def _buy(self, now: datetime, user: str, item: str, request_id: str | None) -> None:
        """A purchase within hours, told at once or up to two days late; now and then it is sent back."""
        rng = self._rng
        at, late = now + timedelta(minutes=rng.uniform(1, 300)), rng.uniform(0, 2880) if rng.random() < 0.3 else 0.0
        named = {"request_id": request_id} if request_id is not None and rng.random() < 0.7 else {}
        bought = self._plan(at, late, user, item, "purchase", quantity=2, value_minor=rng.randint(100, 9_999),
                            currency="EUR", **named)
        if rng.random() < 0.15:
            self._plan(at + timedelta(minutes=rng.uniform(1, 600)), late, user, item, "refund", refers_to=bought,
                       quantity=rng.randint(1, 2))

    def _plan(self, at: datetime, late_minutes: float, user: str, item: str, action: str, **more: Any) -> str:
        event_id = self._ids.new()
        event = {"type": "feedback", "event_id": event_id, "time": at.isoformat(), "user_id": user, "item_id": item,
                 "action": action, **more}
        heapq.heappush(self._due, (at + timedelta(minutes=late_minutes), len(self.sent) + len(self._due), event))
        return event_id

    # --------------------------------------------------------------------------------------------------------- events
    def _send(self, now: datetime) -> None:
        """What is due by now, in batches; now and then together with what was taken long ago."""
        while self._due and self._due[0][0] <= now:
            batch: list[dict[str, Any]] = []
            while self._due and self._due[0][0] <= now and len(batch) < 20:
                batch.append(heapq.heappop(self._due)[2])
            if self._taken and self._rng.random() < 0.1:
                batch.append(self._rng.choice(self._taken))
                self.tally["sent again on purpose"] += 1
            self.sent.update((event["event_id"], event) for event in batch)
            status, receipt = self._post(self._collector, "/v1/events", {"events": batch})
            refused = {item["index"] for item in receipt["items"] if item["status"] == "rejected"}
            if status != 200 or refused or receipt["accepted"] + receipt["duplicate"] != len(batch):
                raise AssertionError(f"events were refused: {receipt}")
            self._acks.events(event["event_id"] for event in batch)
            self._acks.sync()
            self.tally["answered duplicate"] += receipt["duplicate"]
            self._taken += batch

    def _post(self, url: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The answer, asked for until there is one that is no 5xx."""
        pause = threading.Event()
        while True:
            connection = http.client.HTTPConnection(url, timeout=PATIENCE_S)
            try:
                connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
                answer = connection.getresponse()
                status, found = answer.status, json.loads(answer.read())
                if status < 500:
                    if path == "/v1/recommendations" and status != 200:
                        raise AssertionError(f"a request was refused: {status} {found}")
                    return status, found
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                pass
            finally:
                connection.close()
            self.tally["tries that failed"] += 1
            pause.wait(0.05)
