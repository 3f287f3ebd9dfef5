"""Ingest: events from outside into the log, judged one by one, acknowledged together once they are on disk.

Nothing is half acknowledged: accepted events and the quarantined ones of a batch go to the log in one append, and
where that fails the whole batch fails (`StoreError`), to be sent again with the same ids.

Exclusions follow the append, by the time of their events. Those of duplicates are put in as well: the batch that
brought them may have died between the two. That repeats nothing, since what is of their time or newer stands; only an
event from a clock ahead of ours could outdo what the shopper has done since, so that a duplicate is put in once its
time has come and not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.config import LimitsConfig
from incumbent.errors import DataError
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer, hash_user
from incumbent.events.malformed import hint
from incumbent.events.schema import Embedding, Feedback, Impression, Incoming, Item
from incumbent.loop.screen import RefusedError, Screen
from incumbent.stores.store import Log, Quarantined, Record, Table

#: (user id as logged, item id, time) of a shopper who wants to see an item no more
Exclusion = tuple[str, str, datetime]
YIELD_EVERY = 100
_MISSING_ID = "Object missing required field `event_id`"
_pack = msgspec.msgpack.Encoder().encode
_TABLES: dict[type, Table] = {Feedback: "feedback", Embedding: "embedding", Item: "item", Impression: "impression"}


class ItemResult(Struct, frozen=True, omit_defaults=True):
    """What became of one event of a batch; events that were accepted just as sent are not listed."""

    index: int
    status: Literal["accepted", "duplicate", "rejected"]
    event_id: str | None = None  # where one was made for it, or where it is known already
    field: str | None = None
    reason: str | None = None  # what, got, expected and hint in one sentence
    kind: str | None = None  # schema, id, time, currency, number, size, reference, signature
    marks: list[str] = []


class Receipt(Struct, frozen=True):
    """What became of a batch: counts, and every event that was not simply accepted as it was sent."""

    accepted: int
    duplicate: int
    rejected: int
    items: list[ItemResult]


class Ingest:
    """The collector's heart, one per process."""

    def __init__(
        self, log: Log, *, clock: Clock, ids: EventIds, signer: Signer, limits: LimitsConfig,
        user_secret: bytes | None = None, exclude: Callable[[list[Exclusion]], Awaitable[None]] | None = None,
    ) -> None:
        self._log, self._clock, self._ids, self._limits = log, clock, ids, limits
        self.believes = signer.believes  # of a batch, as it came, and what it is signed with
        self._screen = Screen(limits, signer, user_secret=user_secret)
        self._user_secret = user_secret
        self._exclude = exclude

    async def take(self, raws: Sequence[bytes | msgspec.Raw], *, msgpack: bool = False,
                   signed: bool = False) -> Receipt:
        """Judge, store and await; when it returns, all that it counts is on disk, rejected ones in quarantine.

        Impressions are taken only from a batch that is `signed`.

        Raises `StoreError` where the log or the store of exclusions refuses: then nothing was acknowledged, and of a
        log that refuses nothing was excluded either.
        """
        now = self._clock.now()
        self._screen.at(now, signed=signed)
        records: list[Record] = []
        accepted: list[int] = []  # the index of each accepted record, in order; quarantined records stand behind them
        refused: list[Record] = []
        results: dict[int, ItemResult] = {}
        exclusions: dict[int, Exclusion] = {}  # by index
        for index, raw in enumerate(raws):
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)  # requests share this thread: a batch of thousands must not make them late
                self._screen.at(now, signed=signed)  # another batch may have come in between
            try:
                event = self._read(raw, msgpack, index, results, now)
                data = codec.encode(event)
            except (DataError, OverflowError, ValueError) as error:
                tree = _plain(raw, msgpack)
                refusal = _refusal(error, tree, b"" if msgpack else bytes(raw))
                results[index] = ItemResult(index, "rejected", field=refusal.field, reason=str(refusal),
                                            kind=getattr(refusal, "kind", "schema"))
                refused.append(self._quarantine(raw, tree, refusal, now, index, signed))
                continue
            accepted.append(index)
            records.append(Record(event.event_id, _TABLES.get(type(event), "measurement"), data))
            if type(event) is Feedback and event.action == "exclude":
                exclusions[index] = (event.user_id, event.item_id, event.time)
        duplicate = 0
        if records or refused:
            fresh = await self._log.append_async(records + refused)
            for index, record, new in zip(accepted, records, fresh, strict=False):
                if not new:
                    duplicate += 1
                    if index in exclusions and exclusions[index][2] > now:
                        del exclusions[index]
                    results[index] = ItemResult(index, "duplicate", event_id=record.event_id)
        if exclusions and self._exclude is not None:
            await self._exclude(list(exclusions.values()))
        listed = [results[index] for index in sorted(results)]
        return Receipt(len(accepted) - duplicate, duplicate, len(refused), listed)

    def _read(
        self, raw: Any, msgpack: bool, index: int, results: dict[int, ItemResult], now: datetime,
    ) -> Incoming:
        """One event, screened; notes in `results` what its sender should know of it."""
        if len(memoryview(raw)) > self._limits.event_bytes:
            raise RefusedError("event is too large", "size", got=f"{len(memoryview(raw))} bytes",
                               expected=f"at most {self._limits.event_bytes} bytes")
        made = False
        try:
            event = codec.decode_incoming(raw, msgpack=msgpack)
        except DataError as error:
            if error.what != _MISSING_ID:
                raise
            event, made = self._named(raw, msgpack), True
        event = self._screen(event)
        if not isinstance(event, Impression):
            msgspec.structs.force_setattr(event, "received", now)  # nobody else has seen it yet
        marks = event.marks if isinstance(event, Feedback) else []
        if made or marks:
            results[index] = ItemResult(index, "accepted", event_id=event.event_id if made else None, marks=marks)
        return event

    def _named(self, raw: Any, msgpack: bool) -> Incoming:
        """An event that came without an id, with one of ours: a retry of it cannot be recognised."""
        tree = {**_plain(raw, msgpack), "event_id": self._ids.new()}
        return codec.decode_incoming(msgspec.json.encode(tree) if not msgpack else _pack(tree), msgpack=msgpack)

    def _quarantine(self, raw: Any, tree: dict[str, Any], error: DataError, now: datetime, index: int,
                    signed: bool) -> Record:
        """A refused message as a record: as it came, cut to `event_bytes`, its user hashed where users are (that of a
        drafted impression is already)."""
        user = tree.get("user_id")
        kept = bytes(memoryview(raw)[: self._limits.event_bytes])
        if not isinstance(user, str) or len(user) > 256:
            user = None
        if self._user_secret is not None:
            drafted = signed and tree.get("type") == "impression"
            user = hash_user(user, self._user_secret) if user is not None and not drafted else user
            kept = _repack({**tree, "user_id": user}) if user is not None else b""  # it could stand anywhere
        event_id = self._ids.new()
        return Record(event_id, "quarantine", _pack(Quarantined(
            event_id, now, kept, str(error) if self._user_secret is None else error.what, field=error.field,
            user_id=user, index=index, kind=getattr(error, "kind", "schema"), signed=signed)))


def _refusal(error: Exception, tree: dict[str, Any], text: bytes) -> DataError:
    """Any error of judging an event as one that names the field and what stood there; of JSON `text`, the place."""
    if not isinstance(error, DataError):  # an integer beyond 64 bits
        return RefusedError("a number is out of range", "number", got=str(error))
    if error.what == "event does not parse" and text:
        cause = str(error.__context__)
        return RefusedError(error.what, "schema", got=cause, hint=hint(cause, text))
    if error.got is None and error.field in tree:
        return RefusedError(error.what, "schema", got=tree[error.field], expected=error.expected, hint=error.hint,
                            field=error.field)
    return error


def _repack(tree: dict[str, Any]) -> bytes:
    """A refused message with its user hashed; nothing where it cannot be written."""
    try:
        return _pack(tree)
    except (OverflowError, ValueError, TypeError):
        return b""


def _plain(raw: Any, msgpack: bool) -> dict[str, Any]:
    """The top level of a message as a dict, empty where it is none."""
    try:
        tree = msgspec.msgpack.decode(raw) if msgpack else msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return {k: v for k, v in tree.items() if isinstance(k, str)} if isinstance(tree, dict) else {}
