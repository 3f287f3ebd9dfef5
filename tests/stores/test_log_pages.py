"""Rows read from raw pages, and ids packed into keys."""

import sqlite3
import uuid
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.stores import inbox_ids, sqlite_pages

SIZES = st.one_of(st.integers(0, 200), st.integers(4000, 4200), st.integers(0, 60_000))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 2**40), st.integers(-1, 2**20), st.integers(0, 2**32 - 1), SIZES),
                max_size=25, unique_by=lambda row: row[0]), st.booleans())
def test_pages_give_the_rows_that_sql_gives(tmp_path_factory, rows, vacuum):
    path = tmp_path_factory.mktemp("pages") / "x.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {sqlite_pages.PAGE}")
        db.execute(f"PRAGMA auto_vacuum = {2 if vacuum else 0}")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("CREATE TABLE frames (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB)")
        db.execute("CREATE TABLE other (a TEXT, b BLOB)")
        db.execute("INSERT INTO other VALUES ('x', zeroblob(5000))")
        db.executemany("INSERT INTO frames VALUES (?, ?, ?, ?)",
                       [(id, n, crc, id.to_bytes(8, "big") * (size // 8)) for id, n, crc, size in rows])
        told = sorted(db.execute("SELECT id, n, crc, data FROM frames"))
    assert sorted(map(tuple, sqlite_pages.rows(path.read_bytes()))) == told


@settings(deadline=None, max_examples=25)
@given(st.binary(max_size=3 * sqlite_pages.PAGE))
def test_any_bytes_are_read_without_a_fall(content):
    for start in (b"", b"\x0d\x00\x00\x00\x09"):
        page = (start + content).ljust(4 * sqlite_pages.PAGE, b"\x0d")
        assert all(isinstance(row.data, bytes) for row in sqlite_pages.rows(page))


IDS = st.one_of(st.uuids().map(str), st.text(max_size=40), st.text("-0123456789abcdefg", min_size=36, max_size=36))


@given(st.lists(IDS, max_size=20))
def test_a_key_is_the_ids_own_wherever_it_stands(ids):
    packed = inbox_ids.pack(ids)
    keys = [packed[at:at + 16] for at in range(0, len(packed), 16)]
    assert keys == [inbox_ids.pack([id]) for id in ids]
    assert len(set(keys)) == len(set(ids))
    assert all(key == uuid.UUID(id).bytes for id, key in zip(ids, keys, strict=True)
               if len(id) == 36 and str(uuid.UUID(bytes=key)) == id)
