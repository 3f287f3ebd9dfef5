"""The embedded stores, as a configuration opens them: SQLite inboxes, a Delta lake and a SQLite control in a folder."""

from __future__ import annotations

from pathlib import Path

from incumbent.clock import Clock, SystemClock
from incumbent.config import Config
from incumbent.errors import ConfigError
from incumbent.stores.control import FILE, SqlControl
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.store import Control, Lake, Log, Role, Stores

LAKE = "lake"


def open_stores(config: Config, clock: Clock, *, role: Role = "loop") -> Stores:
    """The stores under ``[stores] directory``, as `role` needs them.

    ``gateway``: a log to append to and control, no lake (neither pyarrow nor deltalake is imported). ``loop``: a log
    to append to and to drain, the lake, control; one process alone may drain. ``reader``: nothing is written to the
    log; the lake and control. `StoreError` where the directory cannot be used, `ConfigError` where the lake is not
    installed.
    """
    directory = config.stores.directory
    control: Control = SqlControl.in_directory(directory)
    lake: Lake | None = None
    try:
        if role != "gateway":
            lake = _lake(config)
        log: Log = EmbeddedLog(directory, clock, write=role != "reader")
    except BaseException:
        control.close()
        raise
    return Stores(log, lake, control)


#: of the contract suite: what is written here outlives its process, and several processes may share it
open_stores.tags = frozenset({"durable"})  # type: ignore[attr-defined]


def kept(directory: Path) -> bool:
    """Whether stores were ever opened there: it has a control database, or a lake.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> before = kept(folder)
    >>> SqlControl.in_directory(folder).close()
    >>> before, kept(folder)
    (False, True)
    """
    return (directory / FILE).exists() or (directory / LAKE).exists()


def _lake(config: Config) -> Lake:
    try:
        from incumbent.stores.lake import DeltaLake
    except ImportError as error:
        raise ConfigError("the lake is not installed", got=str(error), hint="pip install 'incumbent[local]'") from None
    # files age in real time, also under a replay
    return DeltaLake(config.stores.directory / LAKE, config.stores.buckets, clock=SystemClock())
