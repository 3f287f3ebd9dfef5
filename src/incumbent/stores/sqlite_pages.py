"""The frames that still stand in the pages of a damaged SQLite file, read without its index of pages.

The format is that of https://www.sqlite.org/fileformat2.html: a table leaf page (type 13) holds cells of
(payload size, rowid, payload), and what does not fit goes on in a chain of overflow pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

PAGE = 4096
_LEAF = 13
_LOCAL_MAX = PAGE - 35
_LOCAL_MIN = (PAGE - 12) * 32 // 255 - 23
_CELLS = (PAGE - 108) // 8  # of six bytes at least, and their pointers
_INT_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Row(NamedTuple):
    """A row of the table `frames`, as far as its form says; its checksum is still to be compared."""

    id: int
    n: int
    crc: int
    data: bytes


def rows(content: bytes) -> Iterator[Row]:
    """All rows in the leaf pages of a file that have the form (NULL, integer, integer, blob), also deleted ones."""
    for start in range(0, len(content) - PAGE + 1, PAGE):
        head = start + (100 if start == 0 else 0)
        if content[head] != _LEAF:
            continue
        for pointer in range(head + 8, head + 8 + 2 * min(_u16(content, head + 3), _CELLS), 2):
            at = start + _u16(content, pointer)
            try:
                row = _row(content, at)
            except (IndexError, ValueError):
                continue
            if row is not None:
                yield row


def _row(content: bytes, at: int) -> Row | None:
    size, at = _varint(content, at)
    rowid, at = _varint(content, at)
    if not 5 <= size <= len(content):
        return None
    payload = _payload(content, at, size)
    header, at = _varint(payload, 0)
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if len(kinds) != 4 or kinds[0] != 0 or kinds[3] < 12 or kinds[3] % 2:
        return None
    n, at = _integer(payload, header, kinds[1])
    crc, at = _integer(payload, at, kinds[2])
    data = payload[at:at + (kinds[3] - 12) // 2]
    return Row(rowid, n, crc, data) if len(data) == (kinds[3] - 12) // 2 else None


def _payload(content: bytes, at: int, size: int) -> bytes:
    """A cell's payload, with its overflow pages; `ValueError` where their chain leads out of the file."""
    if size <= _LOCAL_MAX:
        return content[at:at + size]
    local = _LOCAL_MIN + (size - _LOCAL_MIN) % (PAGE - 4)
    if local > _LOCAL_MAX:
        local = _LOCAL_MIN
    parts = [content[at:at + local]]
    left, page = size - local, int.from_bytes(content[at + local:at + local + 4], "big")
    seen = set()
    while left > 0:
        start = (page - 1) * PAGE
        if not 0 < start < len(content) or page in seen:
            raise ValueError("the chain of overflow pages is broken")
        seen.add(page)
        part = content[start + 4:start + 4 + min(left, PAGE - 4)]
        parts.append(part)
        left, page = left - (PAGE - 4), int.from_bytes(content[start:start + 4], "big")
    return b"".join(parts)


def _integer(payload: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind in (8, 9):
        return kind - 8, at
    if kind not in _INT_BYTES:
        raise ValueError("not an integer")
    end = at + _INT_BYTES[kind]
    return int.from_bytes(payload[at:end], "big", signed=True), end


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A big-endian number of seven bits a byte, nine bytes at most."""
    value = 0
    for i in range(8):
        byte = content[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | content[at + 8], at + 9


def _u16(content: bytes, at: int) -> int:
    return content[at] << 8 | content[at + 1]
