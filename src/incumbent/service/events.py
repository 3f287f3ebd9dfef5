"""POST /v1/events: a batch from outside, answered per event once everything that counts is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from incumbent.errors import DataError, IncumbentError, TooLargeError
from incumbent.events.malformed import elements, hint
from incumbent.events.malformed_msgpack import packed_elements
from incumbent.loop.ingest import Ingest, Receipt
from incumbent.service.metrics import Meter
from incumbent.service.reply import MSGPACK, Reply, reply_error


class Batch(Struct, forbid_unknown_fields=True):
    """``{"events": [...]}``; a bare list of events is the same."""

    events: list[Raw]


_json = msgspec.json.Decoder(Batch | list[Raw])
_msgpack = msgspec.msgpack.Decoder(Batch | list[Raw])
_to_json = msgspec.json.Encoder()
_to_msgpack = msgspec.msgpack.Encoder()


class EventsHandler:
    """Splits a body into raw events, lets `Ingest` judge and store them, and answers.

    What does not parse as a whole is cut into its events where that is safe, so that one bad event refuses itself
    alone; a body that is no batch, or cannot be cut, is refused whole, with the place, and counted as ``batch``.
    200 where at least one event was accepted or known already, with `items` telling of every event that was not
    simply accepted as sent; 422 where every event was refused, of the shape of errors, with the same `items`;
    503 where the log refused: then nothing is acknowledged, and the batch is to be sent again with the same ids.
    MessagePack is answered in kind; errors are JSON whatever was sent.
    """

    def __init__(self, ingest: Ingest, meter: Meter, *, batch_events: int) -> None:
        self._ingest, self._meter, self._batch_events = ingest, meter, batch_events

    async def handle(self, body: bytes, content_type: str) -> Reply:
        """One batch, as anybody may send it."""
        return await self._answer(body, content_type, signed=False)

    async def handle_signed(self, body: bytes, content_type: str, signature: bytes) -> Reply:
        """One batch that came with a signature: its impressions are believed where that is the body's."""
        return await self._answer(body, content_type, signed=self._ingest.believes(body, signature))

    async def _answer(self, body: bytes, content_type: str, *, signed: bool) -> Reply:
        msgpack = content_type.endswith("msgpack")
        try:
            raws = await self._split(body, msgpack)
            receipt = await self._ingest.take(raws, msgpack=msgpack, signed=signed)
        except IncumbentError as error:
            return reply_error(error)
        self._count(receipt)
        if receipt.rejected and receipt.rejected == len(raws):
            return Reply(422, _to_json.encode(_all_refused(receipt)))
        return Reply(200, _to_msgpack.encode(receipt), MSGPACK) if msgpack else Reply(200, _to_json.encode(receipt))

    async def _split(self, body: bytes, msgpack: bool) -> Sequence[bytes | Raw]:
        try:
            batch: Any = (_msgpack if msgpack else _json).decode(body)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            valid = isinstance(error, msgspec.ValidationError)
            cut, why = None, None
            if msgpack and not valid:
                cut, why = await packed_elements(body, self._batch_events)
            elif not valid:
                cut, why = await elements(body, self._batch_events), hint(str(error), body)
            if cut is None:
                self._meter.add("incumbent_events", ("rejected", "batch"))
                raise DataError("body is not a batch of events", got=str(error), expected='{"events": [...]} or a list',
                                hint=why) from None
            batch = cut
        raws: Sequence[bytes | Raw] = batch.events if isinstance(batch, Batch) else batch
        if not raws:
            raise DataError("batch holds no events", got=0, expected=f"1 to {self._batch_events}", field="events")
        if len(raws) > self._batch_events:
            raise TooLargeError("batch holds too many events", got=len(raws), expected=f"at most {self._batch_events}",
                                hint="split it, or raise limits.batch_events", field="events")
        return raws

    def _count(self, receipt: Receipt) -> None:
        add = self._meter.add
        if receipt.accepted:
            add("incumbent_events", ("accepted", ""), receipt.accepted)
        if receipt.duplicate:
            add("incumbent_events", ("duplicate", ""), receipt.duplicate)
        if receipt.rejected:
            for item in receipt.items:
                if item.status == "rejected":
                    add("incumbent_events", ("rejected", item.kind or "schema"))


def _all_refused(receipt: Receipt) -> dict[str, Any]:
    """The receipt in the shape of errors: the first refusal stands for all."""
    first = receipt.items[0]
    field = f"events[{first.index}]" + (f".{first.field}" if first.field else "")
    what = "no event was accepted"
    error = DataError(what, field=field, expected="events that pass docs/log/events.md", hint=first.reason)
    return {**error.to_dict(), **msgspec.structs.asdict(receipt)}
