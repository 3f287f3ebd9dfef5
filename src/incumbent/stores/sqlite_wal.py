"""A SQLite write-ahead log, read frame by frame: was it torn, or bent, and what do its pages say.

The format is that of https://www.sqlite.org/fileformat2.html#walformat: a header of 32 bytes, then frames of 24 bytes
and a page, each with a checksum that goes on from the one before. SQLite itself reads up to the first frame whose
checksum fails and forgets the rest without a word, which is right for a torn tail and wrong for damage in what was
synced.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from incumbent.stores.sqlite_pages import PAGE

_HEAD, _FRAME = 32, 24
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # how its checksums read the words


class Frame(NamedTuple):
    """One page as some transaction wrote it."""

    page: int
    commit: bool  # the last one of its transaction
    sound: bool  # its checksum goes on from the frame before
    content: bytes


def frames(wal: bytes) -> Iterator[Frame]:
    """The frames of the log's last generation (those with the salts of its header), also behind a bad one.

    Where the header itself is bad, the first frame says which generation that is.
    """
    if len(wal) < _HEAD + _FRAME:
        return
    order = _MAGIC.get(int.from_bytes(wal[:4], "big"), "<" if sys.byteorder == "little" else ">")
    salts = wal[16:24] if _head_is_sound(wal) else wal[_HEAD + 8:_HEAD + 16]
    before = struct.unpack(">II", wal[24:32])
    for at in range(_HEAD, len(wal) - _FRAME - PAGE + 1, _FRAME + PAGE):
        head, content = wal[at:at + _FRAME], wal[at + _FRAME:at + _FRAME + PAGE]
        stored = struct.unpack(">II", head[16:24])
        if head[8:16] == salts:
            page = int.from_bytes(head[:4], "big")  # 0 in what was zeroed, whose checksum is sound
            sound = page > 0 and _checksum(content, _checksum(head[:8], before, order), order) == stored
            yield Frame(page, head[4:8] != b"\0\0\0\0", sound, content)
        before = stored


def _head_is_sound(wal: bytes) -> bool:
    order = _MAGIC.get(int.from_bytes(wal[:4], "big"))
    return order is not None and _checksum(wal[:24], (0, 0), order) == struct.unpack(">II", wal[24:32])


def is_bent(wal: bytes) -> bool:
    """Whether synced content is damaged: behind the first bad frame a transaction ends and another one follows.

    A torn tail is at most one transaction, because the next begins after its sync; so the damage of the very last
    transaction cannot be told from a tear, and counts as one. The header is synced before any frame, so that sound
    frames behind a bad header are damage too.
    """
    bad = ended = len(wal) >= _HEAD + _FRAME and not _head_is_sound(wal)
    for frame in frames(wal):
        if ended and not frame.sound:
            continue
        if bad and ended:
            return True
        bad = bad or not frame.sound
        ended = bad and (ended or frame.commit)
    return False


def overlay(database: bytes, wal: bytes) -> bytes:
    """The database with every sound page of the log in its place, also those behind a bad frame."""
    pages = bytearray(database)
    for frame in frames(wal):
        start = (frame.page - 1) * PAGE
        if frame.sound and 0 <= start < len(database) + len(wal):
            if len(pages) < start + PAGE:
                pages.extend(bytes(start + PAGE - len(pages)))
            pages[start:start + PAGE] = frame.content
    return bytes(pages)


def _checksum(data: bytes, start: tuple[int, ...], order: str) -> tuple[int, int]:
    one, two = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
