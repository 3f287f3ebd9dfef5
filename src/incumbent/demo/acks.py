"""The replayer's own record of what the service acknowledged: the producer's side of the books.

One line per acknowledged request or event, appended and synced. The service never sees the file; at the end the lake is
held against it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from incumbent.errors import DataError


class Acks:
    """Appends acknowledged ids; `sync` puts them on disk. Opening an existing file goes on behind its last whole line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "acks"
    >>> with Acks(path) as acks:
    ...     acks.requests(["r1"]); acks.events(["e1", "e2"])
    >>> sorted(read(path).events)
    ['e1', 'e2']
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            whole = path.read_bytes().rpartition(b"\n")[0]
            os.truncate(path, len(whole) + 1 if whole else 0)
        self._file = path.open("ab")

    def requests(self, ids: Iterable[str]) -> None:
        """Note requests that were answered and are on record."""
        self._file.writelines(b"r " + name.encode() + b"\n" for name in ids)

    def events(self, ids: Iterable[str]) -> None:
        """Note events that were accepted, or known already."""
        self._file.writelines(b"e " + name.encode() + b"\n" for name in ids)

    def sync(self) -> None:
        """Everything noted so far is on disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.sync()
        self._file.close()


@dataclass(frozen=True)
class Acknowledged:
    """The ids of a file, each once."""

    requests: frozenset[str]
    events: frozenset[str]

    def __len__(self) -> int:
        return len(self.requests) + len(self.events)


def read(path: Path) -> Acknowledged:
    """What a file notes; a torn last line counts as not noted. `DataError` for a file of another form."""
    found: dict[bytes, set[str]] = {b"r": set(), b"e": set()}
    for line in path.read_bytes().split(b"\n")[:-1]:
        kind, _, name = line.partition(b" ")
        if kind not in found or not name:
            raise DataError("not a file of acknowledgements", got=line[:60], expected="lines of 'r ID' and 'e ID'")
        found[kind].add(name.decode())
    return Acknowledged(frozenset(found[b"r"]), frozenset(found[b"e"]))
