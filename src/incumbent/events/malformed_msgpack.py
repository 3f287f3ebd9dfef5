"""Batches that are not sound MessagePack: cut into their events where that is safe, or the place where it is not."""

from __future__ import annotations

import asyncio

_TOKENS_A_TURN = 2_000  # between two looks at other requests
_KEY = b"\xa6events"
#: first byte -> (bytes of the length that follows it, bytes besides)
_LONG = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
         0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
          0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
#: first byte -> (bytes of the count that follows it, values per count)
_MANY = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


async def packed_elements(body: bytes, most: int = 5_000) -> tuple[list[bytes] | None, str]:
    """The events of a batch that does not parse as a whole, each as it stands; None, and where and why, where it
    cannot be cut safely.

    Safe is: an array, or a map of ``events`` alone to one, whose every length fits and which ends where the body does.
    The byte that MessagePack never uses is a value like any other here: its event refuses itself. O(n); lets others run
    in between. Ends at more than `most` events, and gives what it has by then.

    >>> asyncio.run(packed_elements(b"\\x92\\x81\\xa1a\\xc1\\x80"))[0], asyncio.run(packed_elements(b"\\x92\\x80\\xa2a"))[1]
    ([b'\\x81\\xa1a\\xc1', b'\\x80'], 'at byte 2: event 1 ends half-way')
    """  # noqa: E501
    at = len(_KEY) + 1 if body[:1] == b"\x81" and body[1:len(_KEY) + 1] == _KEY else 0
    if at >= len(body) or not (body[at] in (0xDC, 0xDD) or 0x90 <= body[at] <= 0x9F):
        return None, f"at byte {min(at, len(body))}: no list of events begins"
    at, many = _value(body, at)
    found: list[bytes] = []
    for index in range(many):
        if index > most:
            return found, ""
        end = await _end(body, at)
        if end is None:
            return None, f"at byte {at}: event {index} ends half-way"
        found.append(body[at:end])
        at = end
    if at != len(body):
        return None, f"at byte {at}: {len(body) - at} bytes follow the last event"
    return found, ""


async def _end(body: bytes, at: int) -> int | None:
    """Where the value that begins at `at` ends, None where the body ends before."""
    waiting, count = 1, 0
    while waiting:
        if at >= len(body):
            return None
        at, inside = _value(body, at)
        waiting += inside - 1
        count += 1
        if count % _TOKENS_A_TURN == 0:
            await asyncio.sleep(0)
    return at if at <= len(body) else None


def _value(body: bytes, at: int) -> tuple[int, int]:
    """Where the head of a value ends, with its own bytes where it has any, and how many values stand in it."""
    first = body[at]
    at += 1
    if first <= 0x7F or first >= 0xE0 or 0xC0 <= first <= 0xC3:
        return at, 0
    if first <= 0x8F:
        return at, 2 * (first & 0x0F)
    if first <= 0x9F:
        return at, first & 0x0F
    if first <= 0xBF:
        return at + (first & 0x1F), 0
    if first in _FIXED:
        return at + _FIXED[first], 0
    if first in _MANY:
        size, each = _MANY[first]
        return at + size, each * int.from_bytes(body[at:at + size], "big")
    size, more = _LONG[first]
    return at + size + int.from_bytes(body[at:at + size], "big") + more, 0
