"""The ids of a day, for the answer `duplicate`: three B-trees, of today, of yesterday, and one that withers away.

A day's ids may be many millions; deleting them at once would hold up every append for seconds.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

SCHEMA = """
CREATE TABLE ids_0 (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE ids_1 (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE ids_2 (id BLOB PRIMARY KEY) WITHOUT ROWID;
"""
WITHER = 2_000  # ids deleted in one commit, or as many as it brings
SIZE = 16
_DASHES = (8, 13, 18, 23)

_KEYS = (f"WITH RECURSIVE at(i) AS (VALUES (1) UNION ALL SELECT i + {SIZE} FROM at WHERE i + {SIZE} <= length(?1)) "
         f"SELECT key FROM (SELECT substr(?1, i, {SIZE}) AS key FROM at)")
#: one statement for all ids of a commit: each statement that a thread steps costs it the interpreter lock and back
_ADD = tuple(f"INSERT OR IGNORE INTO ids_{now} {_KEYS} WHERE NOT EXISTS "
             f"(SELECT 1 FROM ids_{(now + 2) % 3} WHERE id = key)" for now in range(3))
_SEEN = tuple(f"{_KEYS} WHERE EXISTS (SELECT 1 FROM ids_{now} WHERE id = key) "
              f"OR EXISTS (SELECT 1 FROM ids_{(now + 2) % 3} WHERE id = key)" for now in range(3))
_WITHER = tuple(f"DELETE FROM ids_{(now + 1) % 3} WHERE id IN (SELECT id FROM ids_{(now + 1) % 3} LIMIT ?)"
                for now in range(3))


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
    """Begin a new day's tree; returns the day that counts from now on.

    A clock that steps back changes nothing until it has caught up. After more than a day of silence all is forgotten.
    """
    if today <= day:
        return day
    if today - day > 1:
        for tree in range(3):
            db.execute(f"DELETE FROM ids_{tree}")
    db.execute("UPDATE meta SET value = ? WHERE key = 'day'", (today,))
    return today


def wither(db: sqlite3.Connection, day: int, n: int) -> bool:
    """Delete some ids of the day before yesterday, at least as many as `n` that come; False where none was left.

    What is left of them when the next day begins stays with its ids: an old id more harms nobody.
    """
    return db.execute(_WITHER[day % 3], (max(n, WITHER),)).rowcount > 0


def add_all(db: sqlite3.Connection, day: int, keys: bytes) -> bool:
    """Remember packed ids; True where all were new. Where False, some were added: roll back, then `add_new`."""
    return db.execute(_ADD[day % 3], (keys,)).rowcount * SIZE == len(keys)


def add_new(db: sqlite3.Connection, day: int, keys: bytes) -> list[bool]:
    """Remember those of the packed ids that are new; returns which they were (of equal ones, the first)."""
    seen = {row[0] for row in db.execute(_SEEN[day % 3], (keys,))}
    new, fresh = [], []
    for at in range(0, len(keys), SIZE):
        key = keys[at:at + SIZE]
        new.append(key not in seen)
        if new[-1]:
            seen.add(key)
            fresh.append(key)
    if fresh:
        db.execute(_ADD[day % 3], (b"".join(fresh),))
    return new
