"""Making files survive a power cut: what deltalake and pyarrow write is only in the page cache until it is synced."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and sync it; its directory entry is durable only after `sync_directory`.

    Raises `FileExistsError` where the file is there already, and other `OSError` as the disk gives them, after the
    torn file has been taken away.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view):]
        os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Sync a file that something else wrote."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Sync a directory: the names in it, not what stands behind them."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_directory(path: Path, root: Path) -> None:
    """Make a directory below `root` with all its parents, and sync each parent that gained an entry."""
    if path.is_dir():
        return
    made = [p for p in (path, *path.parents) if p.is_relative_to(root) and not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for directory in reversed(made):
        sync_directory(directory.parent)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
