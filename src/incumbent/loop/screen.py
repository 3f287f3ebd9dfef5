"""Screen one event from outside: what its types cannot say. Refuses with the reason, or marks what it lets through.

| checked | of | otherwise |
|---|---|---|
| the event id is a UUIDv7 | all | refused, `id` |
| the time is at most `event_ahead_s` ahead of the clock | all | refused, `time`; marked `skewed` where over a second |
| the time is at most `event_age_days` old | feedback, impression | refused, `time` |
| the time is at most `fact_age_days` old | item, embedding, measurement | refused, `time` |
| money names a currency, and the currency exists | feedback, item | refused, `currency` |
| numbers are finite, a vector is readable and fits float32 | all | refused, `number` |
| latencies and costs are 0 or more | impression | refused, `number` |
| a context or label set has at most `context_keys` keys | feedback, measurement | refused, `size` |
| a quantity is 1 or more: of none there is nothing to say | feedback | refused, `number` |
| a refund says of what | feedback | refused, `reference` |
| the context declares no robot (`limits.bots`) | feedback | marked `bot` |
| the request id is one that we signed | feedback | marked `unserved`; `no_request` where there is none |
| the request id is the signed event id | impression (drafted by a client) | refused, `reference` |
| the batch is signed by who has the secret | impression | refused, `signature` |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import inf, isfinite
from typing import Any

import msgspec

from incumbent.config import LimitsConfig
from incumbent.currencies import CURRENCIES
from incumbent.errors import DataError
from incumbent.events.codec import vector_of
from incumbent.events.ids import BATCH_HEADER, Signer, hash_user
from incumbent.events.schema import Embedding, Feedback, Impression, Incoming, Item
from incumbent.experiments.assignment import declared_bot

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
_SKEW = timedelta(seconds=1)
_FLOAT32 = 2.0**128 - 2.0**103  # from here on a number rounds to infinity as a float32 (IEEE 754)


class RefusedError(DataError):
    """One event is not taken; `kind` is the short reason that metrics count by."""

    def __init__(self, what: str, kind: str, **parts: Any) -> None:
        super().__init__(what, **parts)
        self.kind = kind


class Screen:
    """The checks of one process; `at` fixes the time for a batch, so that a batch is judged by one clock reading."""

    def __init__(self, limits: LimitsConfig, signer: Signer, *, user_secret: bytes | None = None) -> None:
        self._ahead = timedelta(seconds=limits.event_ahead_s)
        self._age = timedelta(days=limits.event_age_days)
        self._fact_age = timedelta(days=limits.fact_age_days)
        self._keys, self._bots = limits.context_keys, limits.bots
        self._verify = signer.verify
        self._user_secret = user_secret
        self.at(datetime(1970, 1, 1, tzinfo=UTC))

    def at(self, now: datetime, arrived: datetime | None = None, *, signed: bool = False) -> None:
        """Judge what follows as of `now`; how old it may be as of when it `arrived`, where that was earlier.

        `signed` where it came in a batch that only who has the secret can have sent.
        """
        self._signed = signed
        since = now if arrived is None else min(arrived, now)
        self._now = now
        self._latest, self._oldest, self._skewed = now + self._ahead, since - self._age, now + _SKEW
        self._oldest_fact = since - self._fact_age

    def __call__(self, event: Incoming) -> Incoming:
        """The event as it is kept: time in UTC, id in lower case, user as logged, marks set; raises `RefusedError`."""
        changes: dict[str, Any] = {}
        if not _UUID7(event.event_id):
            if not _UUID7(event.event_id.lower()):
                raise RefusedError("event id is not a UUIDv7", "id", got=event.event_id, field="event_id",
                                   hint="leave it out to be given one")
            changes["event_id"] = event.event_id.lower()
        if event.time.tzinfo is not UTC:
            try:
                changes["time"] = event.time.astimezone(UTC)
            except OverflowError:
                raise RefusedError("time is out of range", "time", got=str(event.time), field="time") from None
        if event.time > self._latest:
            raise RefusedError("event is from the future", "time", got=event.time.isoformat(), field="time",
                               expected=f"at most {self._latest.isoformat()}", hint="check the producer's clock")
        if not isinstance(event, Impression) and event.received is not None:
            raise RefusedError("received is set by the collector", "schema", got=event.received.isoformat(),
                               field="received")
        if isinstance(event, Feedback):
            self._feedback(event, changes)
            return msgspec.structs.replace(event, **changes) if changes else event
        self._age_of(event)
        if isinstance(event, Embedding):
            self._embedding(event, changes)
        elif isinstance(event, Item):
            _money(event.price_minor, event.currency, "price_minor")
            self._values(event.attributes, "attributes")
        elif isinstance(event, Impression):
            self._impression(event)
        else:
            _finite(event.value, "value")
            self._size(event.labels, "labels")
        return msgspec.structs.replace(event, **changes) if changes else event

    def _impression(self, event: Impression) -> None:
        """Believed only from who has the secret; its user stands in it as logged already.

        The request id alone proves nothing: every answer carries one, and all else of an impression could be made up.
        """
        if self._verify(event.request_id) != event.event_id:
            raise RefusedError("impression is not signed", "reference", got=event.request_id, field="request_id",
                               expected="the signed event id", hint="draft with the service's secret")
        if not self._signed:
            raise RefusedError("impression is not signed", "signature", got="a batch without its signature",
                               expected=f"the header {BATCH_HEADER} over the body",
                               hint="see docs/serve/client.md; a proxy must leave the body as it is")
        self._size(event.context, "context")
        took = {"latency_ms": event.latency_ms}
        for n, model in enumerate(event.models):
            took |= {f"models.{n}.latency_ms": model.latency_ms, f"models.{n}.cost": model.cost}
        for field, value in took.items():
            if value is not None and not 0 <= value < inf:
                raise RefusedError("number is negative or not finite", "number", got=value, field=field)

    def _age_of(self, event: Incoming) -> None:
        """What shoppers do is soon late; a fact of the catalogue, or another system's number, may be years old."""
        served = isinstance(event, (Feedback, Impression))
        oldest = self._oldest if served else self._oldest_fact
        if event.time < oldest:
            raise RefusedError(f"{type(event).__name__.lower()} is too old", "time", got=event.time.isoformat(),
                               expected=f"at least {oldest.isoformat()}", field="time",
                               hint=f"limits.{'event' if served else 'fact'}_age_days")

    def _feedback(self, event: Feedback, changes: dict[str, Any]) -> None:
        self._age_of(event)
        if event.marks:
            raise RefusedError("marks are set by the collector", "schema", got=event.marks, field="marks")
        _money(event.value_minor, event.currency, "value_minor")
        if event.quantity == 0:  # what was recorded before this was refused is read as it is
            raise RefusedError("a quantity of none says nothing", "number", got=0, expected="1 or more",
                               field="quantity", hint="leave quantity out, or the event")
        if event.action == "refund" and not (event.refers_to or event.order_id):
            raise RefusedError("a refund does not say of what", "reference", field="refers_to",
                               expected="the purchase's event id, or order_id")
        if event.seconds is not None:
            _finite(event.seconds, "seconds")
        if event.context:
            self._values(event.context, "context")
        marks = []
        if not event.request_id:
            marks.append("no_request")
        elif self._verify(event.request_id) is None:
            marks.append("unserved")
        if event.context and declared_bot(self._bots, event.context):
            marks.append("bot")
        if event.time > self._skewed:
            marks.append("skewed")
        if marks:
            changes["marks"] = marks
        if self._user_secret is not None:
            changes["user_id"] = hash_user(event.user_id, self._user_secret)

    def _embedding(self, event: Embedding, changes: dict[str, Any]) -> None:
        try:
            vector = vector_of(event.vector)
        except DataError as error:
            raise RefusedError(error.what, "number", got=event.vector, field="vector") from None
        if not 1 <= len(vector) <= 8192:
            raise RefusedError("vector has no usable length", "size", got=len(vector), expected="1 to 8192",
                               field="vector")
        for value in vector:
            if not -_FLOAT32 < value < _FLOAT32:
                _finite(value, "vector")
                raise RefusedError("number does not fit float32", "number", got=value, field="vector",
                                   expected="at most 3.4028235e38 in size")
        if event.entity == "user" and self._user_secret is not None:
            changes["entity_id"] = hash_user(event.entity_id, self._user_secret)

    def _values(self, mapping: dict[str, Any], field: str) -> None:
        self._size(mapping, field)
        for key, value in mapping.items():
            if type(value) is float:
                _finite(value, f"{field}.{key}")

    def _size(self, mapping: dict[str, Any], field: str) -> None:
        if len(mapping) > self._keys:
            raise RefusedError("too many keys", "size", got=len(mapping), expected=f"at most {self._keys}", field=field)


def _money(value: int | None, currency: str | None, field: str) -> None:
    if currency is not None:
        if currency not in CURRENCIES:
            raise RefusedError("no such currency", "currency", got=currency, field="currency",
                               expected="an ISO 4217 code", hint="EUR, USD, SEK")
    elif value is not None:
        raise RefusedError("money without a currency", "currency", got=value, field=field,
                           hint="set currency to an ISO 4217 code")


def _finite(value: float, field: str) -> None:
    if not isfinite(value):
        raise RefusedError("number is not finite", "number", got=value, field=field)
