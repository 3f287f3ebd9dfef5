"""Identifiers: time-ordered event ids, signed request ids, user buckets and keyed user hashes."""

from __future__ import annotations

import hashlib
import hmac
import os
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from incumbent.clock import EPOCH, Clock

#: the header of a batch that holds impressions: `Signer.sign_batch` of its body
BATCH_HEADER = "incumbent-signature"
_MILLISECOND = timedelta(milliseconds=1)
_WORDS = 64  # random words drawn at once
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # its two bits are 10


class EventIds:
    """A source of UUIDv7 event ids that never goes back, even when the clock does (RFC 9562, section 5.7).

    48 bits of milliseconds, a 12-bit counter within the millisecond, 62 random bits. When the clock steps back or
    the counter overflows, the last millisecond is kept and counted on, so that ids of one source stay ordered.

    >>> from incumbent.clock import ManualClock
    >>> ids = EventIds(ManualClock(EPOCH + timedelta(seconds=1)), random=lambda n: bytes(n))
    >>> ids.new(), ids.new()
    ('00000000-03e8-7000-8000-000000000000', '00000000-03e8-7001-8000-000000000000')
    """

    def __init__(self, clock: Clock, random: Callable[[int], bytes] = os.urandom) -> None:
        self._now = clock.now
        self._random = random
        self._ms = -1
        self._count = 0
        self._head = ""  # the digits of the millisecond, up to the counter
        self._tails: list[str] = []  # the random digits behind it, drawn and written for many ids at once
        self._process = os.getpid()

    def new(self, now: datetime | None = None) -> str:
        """The next event id, 36 characters; `now` where the caller has just asked the clock."""
        ms = ((now or self._now()) - EPOCH) // _MILLISECOND
        if ms > self._ms or self._count == 0xFFF:
            self._ms, self._count = max(ms, self._ms + 1), 0
            self._head = f"{self._ms >> 16:08x}-{self._ms & 0xFFFF:04x}-7"
        else:
            self._count += 1
        if not self._tails or self._process != os.getpid():  # what a fork has drawn is not shared with it
            self._tails, self._process = _tails(self._random(8 * _WORDS)), os.getpid()
        return f"{self._head}{self._count:03x}-{self._tails.pop()}"


def _tails(random: bytes) -> list[str]:
    """The last two groups of digits of so many ids: the variant's bits 10, and 62 random ones."""
    digits = random.hex()
    return [f"{_VARIANT[digits[at]]}{digits[at + 1:at + 4]}-{digits[at + 4:at + 16]}"
            for at in range(0, len(digits), 16)]


def id_time(event_id: str) -> datetime:
    """The time inside a UUIDv7, in UTC, to the millisecond; `ValueError` for anything else.

    >>> id_time("00000000-03e8-7000-8000-000000000000").isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    value = uuid.UUID(event_id)
    if value.version != 7:
        raise ValueError(f"not a UUIDv7: {event_id!r}")
    return EPOCH + timedelta(milliseconds=value.int >> 80)


class Signer:
    """Signs short texts (request ids, paging cursors) so that what comes back can be told from what was made up.

    ``TEXT.MAC`` with MAC the 9 bytes of keyed BLAKE2b-72 over TEXT, in hex: a forgery passes with probability 2**-72.
    A secret of more than 64 bytes is hashed first. Source: RFC 7693, section 2.9 (a third of the time of HMAC-SHA256).
    `of` gives the signer of another kind of text, whose signatures are no good for any other: the kind is BLAKE2b's
    personalization. Batches of drafted impressions have a MAC that every language can make: HMAC-SHA256.

    >>> signer = Signer(b"secret")
    >>> signer.verify(signer.sign("r1"))
    'r1'
    >>> signer.verify("r1.000000000000000000") is None
    True
    >>> signer.of("cursor").verify(signer.sign("r1")) is None
    True
    """

    def __init__(self, secret: bytes, kind: str = "") -> None:
        key = hashlib.blake2b(secret).digest() if len(secret) > hashlib.blake2b.MAX_KEY_SIZE else secret
        self._keyed = hashlib.blake2b(key=key, digest_size=9, person=kind.encode())
        self._secret = secret
        self._kinds: dict[str, Signer] = {}

    def of(self, kind: str) -> Signer:
        """The signer of another kind of text (at most 16 bytes); request ids are signed by the one without a kind."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = Signer(self._secret, kind)
        return found

    def _mac(self, text: str) -> str:
        mac = self._keyed.copy()
        mac.update(text.encode())
        return mac.hexdigest()

    def sign(self, text: str) -> str:
        """`text` with its signature appended."""
        mac = self._keyed.copy()
        mac.update(text.encode())
        return f"{text}.{mac.hexdigest()}"

    def verify(self, signed: str) -> str | None:
        """The text that was signed, or None where the signature is not ours."""
        text, dot, mac = signed.rpartition(".")
        if not dot or not mac.isascii():
            return None
        try:
            return text if hmac.compare_digest(mac, self._mac(text)) else None
        except UnicodeEncodeError:  # half of a surrogate pair: never signed by us
            return None

    def sign_batch(self, body: bytes) -> str:
        """What a batch of events is sent with under `BATCH_HEADER`, to be believed in its impressions.

        ``HMAC-SHA256(secret, "incumbent.batch" 0x0A body)`` in hex, over the body as it is sent. Source: RFC 2104.

        >>> Signer(b"secret").sign_batch(b"[]")[:16]
        'e5c72743e14fc7a9'
        """
        return hmac.new(self._secret, b"incumbent.batch\n" + body, hashlib.sha256).hexdigest()

    def believes(self, body: bytes, signature: bytes) -> bool:
        """Whether a batch came with its own signature."""
        return hmac.compare_digest(signature.strip().lower(), self.sign_batch(body).encode())


def user_bucket(user_id: str, buckets: int = 16) -> int:
    """The lake bucket of a user, in [0, buckets): the first 8 bytes of BLAKE2b(user_id), big-endian, modulo `buckets`.

    >>> user_bucket("u42"), user_bucket("u42", 4)
    (15, 3)
    """
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "big") % buckets


def hash_user(user_id: str, secret: bytes) -> str:
    """The keyed hash under which a user is logged when ``user_ids = "hashed"``: 128 bits of HMAC-SHA256, in hex."""
    return hmac.new(secret, user_id.encode(), hashlib.sha256).hexdigest()[:32]
