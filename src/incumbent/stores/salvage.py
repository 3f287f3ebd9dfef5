"""A damaged inbox: what can be read of it goes on in another, and the file is set aside."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from incumbent.errors import StoreError
from incumbent.stores import sqlite_pages, sqlite_wal
from incumbent.stores.inbox_file import InboxDamaged, InboxFile, connect, sync_directory, unpack
from incumbent.stores.store import Record

FOLDER = "damaged"
_log = logging.getLogger("incumbent.stores")


def check(path: Path) -> None:
    """Raise `InboxDamaged` unless a file is whole: its write-ahead log, its pages, and each frame not yet released.

    The ids of the day are left out: they are many, and only the answer `duplicate` stands on them.
    """
    if sqlite_wal.is_bent(_bytes(_wal(path))):
        raise InboxDamaged("the write-ahead log of an inbox is damaged", got=str(_wal(path)))
    try:
        with closing(connect(path)) as db:
            for table in ("meta", "position", "frames"):
                said = db.execute(f"PRAGMA quick_check({table})").fetchone()[0]
                if said != "ok":
                    raise InboxDamaged("an inbox file is damaged", got=f"{path}: {said}")
            for number, n, crc, data in db.execute(
                    "SELECT id, n, crc, data FROM frames WHERE id >= (SELECT frame FROM position)"):
                unpack(path, number, n, crc, data)
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise StoreError("an inbox file cannot be opened", got=f"{path}: {error}") from error
        raise InboxDamaged("an inbox file is damaged", got=f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise InboxDamaged("an inbox file is damaged", got=f"{path}: {error}") from error


def salvage(path: Path, target: InboxFile, now: datetime) -> StoreError:
    """Append to `target` what can be read of a damaged file, then set the file aside; returns what to tell people.

    Only after the records are synced in `target` does the file go, so a crash here repeats and never loses. What the
    lake already had of it, the lake finds by its event ids.
    """
    folder = path.parent / FOLDER
    folder.mkdir(exist_ok=True)
    aside = folder / f"{path.stem}-{now:%Y%m%dT%H%M%S}{path.suffix}"
    wal = _bytes(_wal(path))
    bent = sqlite_wal.is_bent(wal)
    if bent:  # SQLite will fold what it can read of it into the file, and forget the rest
        aside.with_name(aside.name + "-wal.bent").write_bytes(wal)
    frames = _readable(path, sqlite_wal.overlay(_bytes(path), wal) if bent else None)
    for records in frames:
        target.commit(records, now)
    for suffix in ("-shm", "-wal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    sync_directory(folder)
    sync_directory(path.parent)
    error = StoreError("an inbox file was damaged", got=str(path), expected="what was written to it",
                       hint=f"{sum(map(len, frames))} of its records were read and go on; the file is kept as {aside}")
    _log.error("%s", error)
    return error


def discard(folder: Path) -> None:
    """Delete the files that were set aside from the inboxes of `folder`."""
    aside = sorted((folder / FOLDER).glob("*"))
    for path in aside:
        path.unlink(missing_ok=True)
    if aside:
        sync_directory(folder / FOLDER)
        _log.warning("an erasure deleted what was set aside as damaged: %s", ", ".join(path.name for path in aside))


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _readable(path: Path, overlaid: bytes | None) -> list[list[Record]]:
    """The frames not yet released that can be read whole, in their order: by SQL, and where that fails, by pages;
    `overlaid` is the file as its bent write-ahead log would have it, where that is so."""
    found: dict[int, list[Record]] = {}
    first, skip, whole = 0, 0, False
    with suppress(sqlite3.DatabaseError), closing(connect(path)) as db:
        with suppress(sqlite3.DatabaseError, TypeError):
            first, skip = db.execute("SELECT frame, skip FROM position").fetchone()
        with suppress(sqlite3.DatabaseError):
            numbers = [row[0] for row in db.execute("SELECT id FROM frames WHERE id >= ?", (first,))]
            whole = True
            for number in numbers:
                try:
                    _keep(found, path, sqlite_pages.Row(number, *db.execute(
                        "SELECT n, crc, data FROM frames WHERE id = ?", (number,)).fetchone()))
                except (sqlite3.DatabaseError, TypeError):
                    whole = False
        with suppress(sqlite3.DatabaseError):
            db.execute("PRAGMA wal_checkpoint").fetchall()
    for content in ([] if whole else [_bytes(path)]) + ([] if overlaid is None else [overlaid]):
        for row in sqlite_pages.rows(content):
            if row.id >= first and row.id not in found:
                _keep(found, path, row)
    if first in found:
        found[first] = found[first][skip:]
    return [found[number] for number in sorted(found) if found[number]]


def _keep(found: dict[int, list[Record]], path: Path, row: sqlite_pages.Row) -> None:
    with suppress(InboxDamaged):
        found[row.id] = [record for record in unpack(path, *row) if record is not None]
