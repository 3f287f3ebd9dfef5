"""The folder of one supervisor beside its data: for a socket, whose path must be short."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "incumbent-"
LOCK = "supervisor.lock"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in the temporary directory until the end of the block; those of killed processes go before it is made.

    Its lock is held by this process alone: the parts that it starts do not inherit it, and the kernel gives it back at
    death, however that comes. A folder in which there is none is left alone, whoever made it.

    >>> with scratch() as folder:
    ...     (folder / LOCK).exists()
    True
    >>> folder.exists()
    False
    """
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    aside = folder / f"{LOCK}.new"
    held = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        aside.rename(folder / LOCK)  # held before it has its name: a lock that is free was let go by a death
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _sweep(directory: Path) -> None:
    """Remove the folders of this user whose lock nobody holds."""
    for folder in directory.glob(f"{PREFIX}*"):
        try:
            if folder.lstat().st_uid != os.getuid():
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # no folder, none of ours, or gone by now
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it lives
            pass
        finally:
            os.close(lock)
