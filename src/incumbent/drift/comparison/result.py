"""Comparison: what two data sets were found to be to each other, as plain values, as text, as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from incumbent.drift.breakdown import ShareChange
from incumbent.drift.decompose import Decomposition
from incumbent.drift.detector import Component, Status
from incumbent.drift.explain import Explanation
from incumbent.drift.moved_items import MovedItem
from incumbent.drift.segments import SegmentChange

Null = Literal["windows", "rows"]


@dataclass(frozen=True)
class SideTold:
    """A side: its name, rows, windows, rows without a time, and the first and last window."""

    name: str
    rows: int
    windows: int
    undated: int
    first: str
    last: str


@dataclass(frozen=True)
class WindowTold:
    """One window of one stream: `score` is its largest statistic in standard units of the null; `off`: past the
    threshold by itself. `score` and `p_value` are None exactly where `status` is no_data or invalid, or for windows of
    the baseline that the cells were fitted on, whose `p_value` is None."""

    window: str
    side: Literal["baseline", "current"]
    n: int
    status: Status
    reason: str
    score: float | None = None
    p_value: float | None = None
    off: bool = False


@dataclass(frozen=True)
class SegmentTold:
    """One segment column: how each value's own mix changed (vectors, ids), or what of a mean's change is mix and what
    is change within (numbers)."""

    column: str
    mixes: tuple[SegmentChange, ...] = ()
    mean: Decomposition | None = None


@dataclass(frozen=True)
class VersionTold:
    """Two versions of a space by their anchors: status and reason of `drift.versions`, and the items moved most."""

    status: Status
    reason: str
    detail: str
    anchors: int
    residual: float | None
    moved: tuple[MovedItem, ...] = ()


@dataclass(frozen=True)
class StreamTold:
    """One column: status with reason, its p-value alone and among all columns, components, what moved.

    `changes` are the shares of values or ranges that moved most; `figures` are plain numbers of both sides by name,
    `statistics` those of the one against the other (Fréchet, MMD, PSI ...), which no threshold is held against;
    `explanation` is of vectors. `method` is how p and `threshold` came by: ``windows``, ``rows``, or a tail that
    extrapolates.
    """

    name: str
    kind: str
    status: Status
    reason: str
    p_value: float | None = None
    p_alone: float | None = None
    score: float | None = None
    threshold: float | None = None
    method: str = ""
    components: tuple[Component, ...] = ()
    changes: tuple[ShareChange, ...] = ()
    figures: tuple[tuple[str, float | None, float | None], ...] = ()
    statistics: tuple[tuple[str, float | None], ...] = ()
    explanation: Explanation | None = None
    segments: tuple[SegmentTold, ...] = ()
    version: VersionTold | None = None
    windows: tuple[WindowTold, ...] = ()

    @property
    def why(self) -> str:
        """In a line: what moved most in a column that drifted, why another could not be judged; nothing of one that is
        ok."""
        if self.status in ("invalid", "no_data"):
            return self.reason
        if self.status == "ok":
            return ""
        if self.explanation is not None and self.explanation.clusters:
            clusters = self.explanation.clusters
            cluster = next((one for one in clusters if one.words), clusters[0])
            return (f"{', '.join(cluster.words) or f'cluster {cluster.cluster}'}: "
                    f"{cluster.reference:.1%} -> {cluster.current:.1%}")
        if self.changes:
            return f"{self.changes[0].name}: {self.changes[0].reference:.1%} -> {self.changes[0].current:.1%}"
        return self.reason


@dataclass(frozen=True)
class Comparison:
    """Two data sets compared: one status over all columns, and each column by itself.

    ``drift`` where any column's p-value, adjusted for all columns, is at most `alpha`; ``invalid`` where a column that
    both should have cannot be compared; ``no_data`` where nothing could be judged; else ``ok``. `null` says what a
    threshold was made of, `resolution` the least p-value that its ranks can give (None by a tail, or where nothing was
    judged), `left_out` which columns were not compared.
    """

    status: Status
    reason: str
    null: Null
    alpha: float
    resolution: float | None
    baseline: SideTold
    current: SideTold
    streams: tuple[StreamTold, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def to_json(self, *, indent: int | None = None) -> str:
        """The whole of it as JSON, for machines."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def stream(self, name: str) -> StreamTold:
        """One column; `KeyError` where it was not compared."""
        return {one.name: one for one in self.streams}[name]

    def __str__(self) -> str:
        return self.text()

    def text(self, *, details: int = 3) -> str:
        """A plain table, and under it what moved in each column that drifted."""
        from incumbent.drift.comparison.text import text

        return text(self, details=details)
