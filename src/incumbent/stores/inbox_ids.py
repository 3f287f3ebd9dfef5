"""The ids of a day, for the answer `duplicate`: two generations of one B-tree each, by the day of arrival."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

SCHEMA = """
CREATE TABLE ids_0 (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE ids_1 (id BLOB PRIMARY KEY) WITHOUT ROWID;
"""
SIZE = 16
_DASHES = (8, 13, 18, 23)

_KEYS = (f"WITH RECURSIVE at(i) AS (VALUES (1) UNION ALL SELECT i + {SIZE} FROM at WHERE i + {SIZE} <= length(?1)) "
         f"SELECT key FROM (SELECT substr(?1, i, {SIZE}) AS key FROM at)")
#: one statement for all ids of a commit: each statement that a thread steps costs it the interpreter lock and back
_ADD = tuple(f"INSERT OR IGNORE INTO ids_{now} {_KEYS} WHERE NOT EXISTS (SELECT 1 FROM ids_{before} WHERE id = key)"
             for now, before in ((0, 1), (1, 0)))
_SEEN = f"{_KEYS} WHERE EXISTS (SELECT 1 FROM ids_0 WHERE id = key) OR EXISTS (SELECT 1 FROM ids_1 WHERE id = key)"


def pack(ids: Sequence[str]) -> bytes:
    """16 bytes per id, one after the other: a UUID's own, and for any other text its BLAKE2b-128.

    >>> pack(["00000000-03e8-7000-8000-000000000000"]).hex()
    '0000000003e870008000000000000000'
    >>> pack(["00000000-03e8-7000-8000-000000000000", "b"])[:16].hex()
    '0000000003e870008000000000000000'
    """
    text, n = "".join(ids), len(ids)
    if set(map(len, ids)) == {36} and text.count("-") == 4 * n and all(text[at::36] == "-" * n for at in _DASHES):
        try:
            return bytes.fromhex(text.replace("-", ""))
        except ValueError:
            pass
    return b"".join([pack([id]) if _is_uuid(id) else hashlib.blake2b(id.encode(), digest_size=SIZE).digest()
                     for id in ids])


def _is_uuid(id: str) -> bool:
    digits = id.replace("-", "")
    return (len(id) == 36 and len(digits) == 32 and all(id[at] == "-" for at in _DASHES)
            and set(digits) <= set("0123456789abcdefABCDEF"))


def turn(db: sqlite3.Connection, day: int, today: int) -> int:
    """Empty the generations that have grown older than a day; returns the day that counts from now on.

    A clock that steps back changes nothing until it has caught up.
    """
    if today <= day:
        return day
    for old in {today, today - 1} if today - day > 1 else {today}:
        db.execute(f"DELETE FROM ids_{old % 2}")
    db.execute("UPDATE meta SET value = ? WHERE key = 'day'", (today,))
    return today


def add_all(db: sqlite3.Connection, day: int, keys: bytes) -> bool:
    """Remember packed ids; True where all were new. Where False, some were added: roll back, then `add_new`."""
    return db.execute(_ADD[day % 2], (keys,)).rowcount * SIZE == len(keys)


def add_new(db: sqlite3.Connection, day: int, keys: bytes) -> list[bool]:
    """Remember those of the packed ids that are new; returns which they were (of equal ones, the first)."""
    seen = {row[0] for row in db.execute(_SEEN, (keys,))}
    new, fresh = [], []
    for at in range(0, len(keys), SIZE):
        key = keys[at:at + SIZE]
        new.append(key not in seen)
        if new[-1]:
            seen.add(key)
            fresh.append(key)
    if fresh:
        db.execute(_ADD[day % 2], (b"".join(fresh),))
    return new
