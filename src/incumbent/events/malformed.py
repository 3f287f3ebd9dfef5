"""Bodies that are not sound JSON: why, in words, and a batch cut into its events where that is safe."""

from __future__ import annotations

import asyncio
import re

_TOKENS_A_TURN = 2_000  # between two looks at other requests: some hundred microseconds
_DEEPEST = 2**18
_PLACE = re.compile(r"\(byte (\d+)\)").search
#: a whole text, or one that does not end (group 1 is empty); else what structure is made of
_token = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{},]', re.DOTALL)
_head = re.compile(rb'[ \t\r\n]*+(\{[ \t\r\n]*+"events"[ \t\r\n]*+:[ \t\r\n]*+)?\[').match
_tail = re.compile(rb"[ \t\r\n]*+(\}[ \t\r\n]*+)?").fullmatch
_lone = re.compile(rb"(?<!\\)(?:\\\\)*+(\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F]))").search
_HALF = "half of a surrogate pair is no text: write both halves, or UTF-8"


def hint(message: str, data: bytes) -> str:
    """What is wrong where in `data`, from msgspec's message about it.

    >>> import msgspec
    >>> for data in (b'{"a": NaN}', b"{'a': 1}", rb'{"a": "\\ud800"}', b'{"a": 1'):
    ...     try:
    ...         msgspec.json.decode(data)
    ...     except msgspec.DecodeError as error:
    ...         print(hint(str(error), data))
    at byte 6: NaN and Infinity are not JSON: leave the field out
    at byte 1: object keys and texts stand in double quotes
    at byte 7: half of a surrogate pair is no text: write both halves, or UTF-8
    it ends half-way
    """
    if "recursion" in message:
        return "it is nested too deep"
    found = _PLACE(message)
    if found is None:
        lone = _lone(data)
        if lone is not None:
            return f"at byte {lone.start(1)}: {_HALF}"
        return "it ends half-way" if "truncated" in message else message
    place = int(found[1])
    return f"at byte {place}: " + _said(data[place:place + 1], message)


def _said(byte: bytes, message: str) -> str:
    if byte and byte in b"NI":
        return "NaN and Infinity are not JSON: leave the field out"
    if byte and byte in b"TF":
        return "the words of JSON are true, false and null"
    if byte == b"'" or "expected '\"'" in message:
        return "object keys and texts stand in double quotes"
    if "surrogate" in message:
        return _HALF
    if byte == b"\xef":
        return "a byte order mark is not JSON"
    if byte and byte[0] < 32:
        return f"a control character in a text is written \\u00{byte.hex()}"
    return message.partition(" (byte")[0]


async def elements(body: bytes, most: int = 5_000) -> list[bytes] | None:
    """The events of a batch that does not parse as a whole, each as it stands; None where it cannot be cut safely.

    Safe is: ``[...]`` or ``{"events": [...]}``, whose texts end and whose brackets close each other in order, so that
    no reading of what is wrong inside an event could move a comma between two. O(n); lets others run in between. Ends
    at more than `most` events, and gives what it has by then.

    >>> asyncio.run(elements(b'[{"a": NaN}, {"b": "},{"}]')), asyncio.run(elements(b'[{"a": [}, {"b": 1}]'))
    ([b'{"a": NaN}', b' {"b": "},{"}'], None)
    """
    head = _head(body)
    if head is None:
        return None
    start, closing, found = head.end(), bytearray(), list[bytes]()
    for count, token in enumerate(_token.finditer(body, start), 1):
        if count % _TOKENS_A_TURN == 0:
            await asyncio.sleep(0)
        sign = body[token.start()]
        if sign == 0x22:  # a text
            if not token[1]:
                return None
        elif sign in b"[{" and len(closing) < _DEEPEST:
            closing.append(sign + 2)
        elif sign == 0x2C:  # a comma
            if not closing:
                found.append(body[start:token.start()])
                start = token.end()
                if len(found) > most:
                    return found
        elif closing:
            if closing.pop() != sign:
                return None
        else:
            tail = _tail(body, token.end())
            if sign != 0x5D or tail is None or (tail[1] is None) != (head[1] is None):
                return None
            return [*found, body[start:token.start()]]
    return None
