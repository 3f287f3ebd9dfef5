"""The three stores, as protocols: Log (what arrives), Lake (what is kept), Control (what is decided and measured).

Every implementation passes the one contract suite of `incumbent.testing.checks.stores`. Each protocol stands in a file
of its own with what passes through it; all of their names can be had here.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from incumbent.stores.control_protocol import Control
from incumbent.stores.control_rows import (
    BaselinePart,
    BaselineRow,
    ExperimentRow,
    Lease,
    Matured,
    OutboxRow,
    Seal,
    StageChange,
    StateRow,
    seal_hash,
)
from incumbent.stores.lake_protocol import Commit, Fresh, Lake, Partition
from incumbent.stores.log_protocol import Log, Quarantined, Record, Segment, Table

__all__ = [
    "BaselinePart", "BaselineRow", "Commit", "Control", "ExperimentRow", "Fresh", "Lake", "Lease", "Log", "Matured",
    "OutboxRow", "Partition", "Quarantined", "Record", "Role", "Seal", "Segment", "StageChange", "StateRow", "Stores",
    "Table", "seal_hash",
]

#: what a process does with the stores: gateways append and poll, the loop drains and measures, readers look
Role = Literal["gateway", "loop", "reader"]


class Stores(Struct, frozen=True):
    """The three together, as a configuration opens them (`open_stores(config, clock, role=...)` of a store bundle)."""

    log: Any
    lake: Any  # None in a gateway
    control: Any

    def close(self) -> None:
        """Close the log, which writes what is queued, then control."""
        self.log.close()
        self.control.close()
