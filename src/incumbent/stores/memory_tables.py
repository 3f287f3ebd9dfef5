"""The tables of Control in memory, which its verbs share."""

from __future__ import annotations

import threading
from datetime import date, datetime

from incumbent.events.plan import ServingPlan
from incumbent.events.schema import Conclusion
from incumbent.stores.exclusion_changes import Change
from incumbent.stores.store import (
    BaselinePart,
    BaselineRow,
    ExperimentRow,
    Lease,
    Matured,
    OutboxRow,
    Seal,
    StageChange,
    StateRow,
)


class MemoryTables:
    """Dictionaries by primary key, and the one lock over them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._states: dict[tuple[str, date, int], dict[str, StateRow]] = {}
        self._cursors: dict[str, str] = {}
        self._plans: list[ServingPlan] = []
        self._leases: dict[str, Lease] = {}
        self._exclusions: dict[str, dict[tuple[str, str], tuple[int, tuple[Change, ...]]]] = {}
        self._exclusions_version = 0
        self._forgotten = 0
        self._conclusions: dict[str, Conclusion] = {}
        self._memories: dict[str, bytes] = {}
        self._outbox: dict[str, OutboxRow] = {}
        self._experiments: dict[str, ExperimentRow] = {}
        self._stages: dict[tuple[str, datetime], StageChange] = {}
        self._seals: dict[tuple[str, date], Seal] = {}
        self._matured: dict[str, dict[str, tuple[int, Matured]]] = {}
        self._restated: dict[str, dict[str, Matured]] = {}
        self._baselines: dict[tuple[str, int], BaselineRow] = {}
        self._baseline_parts: dict[tuple[str, int], dict[tuple[str, str], BaselinePart]] = {}
