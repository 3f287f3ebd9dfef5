"""The stores in memory, as a configuration opens them."""

from __future__ import annotations

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_log import MemoryLog
from incumbent.stores.store import Control, Log, Role, Stores


def open_stores(config: Config, clock: Clock, *, role: Role = "loop") -> Stores:
    """Fresh, empty stores that live as long as the process; `role` as in `incumbent.stores.embedded.open_stores`."""
    log: Log = MemoryLog(clock)
    control: Control = MemoryControl()
    if role == "gateway":
        return Stores(log, None, control)
    from incumbent.stores.memory_lake import MemoryLake

    return Stores(log, MemoryLake(config.stores.buckets), control)
