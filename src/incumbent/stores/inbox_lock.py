"""The lock of an inbox: whose process lives holds it, and nobody else may take the file over."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from incumbent.errors import StoreError


class InboxLock:
    """An exclusive `flock` on ``NAME.lock`` beside an inbox, freed by the kernel when its process dies.

    It stands beside the file and not on it, because closing any descriptor of a SQLite file drops SQLite's own locks.
    Advisory and local: an inbox belongs on a local file system.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, inbox: Path) -> InboxLock | None:
        """The lock of an inbox, or None while another open file (of any process) holds it; never waits."""
        path = inbox.with_suffix(".lock")
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise StoreError("the lock of an inbox cannot be opened", got=str(path), hint=str(error.strerror),
                                 expected="a directory that this process may write to") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return None
            if _is(descriptor, path):
                return cls(path, descriptor)
            os.close(descriptor)  # it was removed between open and lock: what we hold names nothing any more

    def give(self, *, remove: bool = False) -> None:
        """Free the lock; with `remove` its file goes too, while it is still held."""
        if self._descriptor < 0:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
