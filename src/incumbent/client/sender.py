"""Sender: a bounded buffer of events and the thread that gets them acknowledged, however often it must try."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw, Struct

from incumbent.client.http import Http, RefusedBatch
from incumbent.errors import IncumbentError, StoreError, TooLargeError, UnavailableError
from incumbent.events.ids import BATCH_HEADER
from incumbent.stores.store import Record

_pack = msgspec.msgpack.Encoder().encode


class Rejected(Struct, frozen=True):
    """An event that the collector refused for good."""

    event_id: str
    reason: str


class Sent(Struct):
    """What became of the events so far: `accepted` and `duplicate` are on the service's disk."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    retries: int = 0


class Sender:
    """Sends batches in order; keeps a batch until the service has acknowledged or refused each of its events.

    A service that is away, or that refuses the key, is tried again after 0.1 s, doubling up to `max_wait_s`; a batch
    that is too large is sent in halves, and a single event that is too large is refused. `sign` signs the body of a
    batch that holds impressions (`Signer.sign_batch`). The buffer holds `capacity`
    events; past that `put` raises, so that memory is bounded and a caller knows. What the buffer holds is lost with
    the process: call `flush` before the end, or send what must not be lost with `Client.send`.
    """

    def __init__(self, http: Http, *, capacity: int = 10_000, batch: int = 500, every_s: float = 0.5,
                 max_wait_s: float = 30.0, on_rejected: Callable[[Rejected], None] | None = None,
                 sign: Callable[[bytes], str] | None = None) -> None:
        self._http, self._capacity, self._batch, self._every_s = http, capacity, batch, every_s
        self._max_wait_s, self._on_rejected, self._sign = max_wait_s, on_rejected, sign
        self._buffer: deque[Record] = deque()
        self._changed = threading.Condition()
        self._stopping = self._flushing = False
        self._thread: threading.Thread | None = None
        self.sent = Sent()
        self.problem: str | None = None

    def put(self, records: Sequence[Record]) -> None:
        """Queue records; `UnavailableError` where the buffer is full (none of them is kept) or closed."""
        with self._changed:
            if self._stopping:
                raise UnavailableError("the client is closed")
            if len(self._buffer) + len(records) > self._capacity:
                raise UnavailableError("the buffer of unsent events is full", got=len(self._buffer),
                                       expected=f"at most {self._capacity}", hint=self.problem)
            self._buffer.extend(records)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="incumbent-sender", daemon=True)
                self._thread.start()
            if len(self._buffer) >= self._batch:
                self._changed.notify_all()

    @property
    def pending(self) -> int:
        """Events that the service has not acknowledged yet."""
        return len(self._buffer)

    def flush(self, timeout_s: float) -> bool:
        """Send what is queued now; True where nothing was left within the time."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._buffer, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Flush, then stop."""
        done = self.flush(timeout_s) if self._buffer else True
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return done

    def _run(self) -> None:
        wait_s = 0.1
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._flushing or len(self._buffer) >= self._batch,
                                       self._every_s)
                batch = [self._buffer[n] for n in range(min(self._batch, len(self._buffer)))]
                if not batch:
                    self._flushing = False
                    if self._stopping:
                        self._http.close()
                        return
                    continue
            try:
                self.deliver(batch)
            except TooLargeError as error:
                if len(batch) > 1:
                    self._batch = max(len(batch) // 2, 1)  # the service takes smaller ones
                    continue
                self._refuse(batch[0], str(error))
            except IncumbentError as error:
                self.problem = str(error)
                self.sent.retries += 1
                with self._changed:
                    if self._changed.wait_for(lambda: self._stopping, wait_s):
                        return
                wait_s = min(2 * wait_s, self._max_wait_s)
                continue
            self.problem, wait_s = None, 0.1
            with self._changed:
                for _ in batch:
                    self._buffer.popleft()
                self._changed.notify_all()

    def _refuse(self, record: Record, reason: str) -> None:
        self.sent.rejected += 1
        if self._on_rejected is not None:
            self._on_rejected(Rejected(record.event_id, reason))

    def deliver(self, batch: Sequence[Record]) -> list[Rejected]:
        """One batch, now: the events refused for good. Raises where it must be tried again."""
        body = _pack({"events": [Raw(record.data) for record in batch]})
        try:
            receipt = self._http.send("/v1/events", body, self._signature(batch, body))
        except RefusedBatch as refused:
            receipt = refused.receipt
        self.sent.accepted += receipt["accepted"]
        self.sent.duplicate += receipt["duplicate"]
        self.sent.rejected += receipt["rejected"]
        rejected = [Rejected(batch[item["index"]].event_id, item.get("reason", "")) for item in receipt["items"]
                    if item["status"] == "rejected"]
        for one in rejected if self._on_rejected else ():
            self._on_rejected(one)  # type: ignore[misc]
        return rejected

    def _signature(self, batch: Sequence[Record], body: bytes) -> dict[str, str]:
        """The header that impressions are believed with."""
        if self._sign is None or not any(record.table == "impression" for record in batch):
            return {}
        return {BATCH_HEADER: self._sign(body)}


class SenderLog:
    """The sender in the place of a gateway's Log: impressions drafted here go the way of events."""

    writer = "client"

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.error: StoreError | None = None

    def post(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> None:
        """Queue; `StoreError` where the buffer is full."""
        try:
            self._sender.put(records)
        except UnavailableError as error:
            self.error = StoreError(error.what, hint=error.hint)
            raise self.error from None
        self.error = None
