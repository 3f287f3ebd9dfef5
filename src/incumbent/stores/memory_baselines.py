"""Control in memory, what drift is judged against: baselines with their parts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from incumbent.errors import ConflictError
from incumbent.stores.memory_tables import MemoryTables
from incumbent.stores.store import BaselinePart, BaselineRow


class MemoryBaselines(MemoryTables):
    """The verbs of Control that build and read baselines."""

    def put_baseline(self, row: BaselineRow, parts: Sequence[BaselinePart]) -> BaselineRow:
        """Write a baseline as the next version of its name; see `Control.put_baseline`."""
        known = {(part.stream, part.part): part for part in parts}
        if len(known) < len(parts):
            raise ConflictError("a baseline holds a part once", got=f"{len(parts)} parts under {len(known)} names")
        with self._lock:
            last = max((version for name, version in self._baselines if name == row.name), default=0)
            row = msgspec.structs.replace(row, version=last + 1)
            self._baselines[row.name, row.version] = row
            self._baseline_parts[row.name, row.version] = known
        return row

    def add_parts(self, name: str, version: int, parts: Sequence[BaselinePart]) -> None:
        """Parts that a baseline gains later; what stands is not changed."""
        with self._lock:
            known = self._baseline_parts.setdefault((name, version), {})
            for part in parts:
                known.setdefault((part.stream, part.part), part)

    def baselines(self) -> list[BaselineRow]:
        """All baselines, by name and version."""
        with self._lock:
            return [self._baselines[key] for key in sorted(self._baselines)]

    def baseline(self, name: str, version: int | None = None) -> BaselineRow | None:
        """One version of a baseline, the newest where none is named."""
        with self._lock:
            found = [row for row in self._baselines.values()
                     if row.name == name and (version is None or row.version == version)]
        return max(found, key=lambda row: row.version, default=None)

    def baseline_parts(self, name: str, version: int, stream: str | None = None,
                       part: str | None = None) -> list[BaselinePart]:
        """The parts of a baseline, by stream and part."""
        with self._lock:
            parts = self._baseline_parts.get((name, version), {})
            return [parts[key] for key in sorted(parts)
                    if (stream is None or key[0] == stream) and (part is None or key[1] == part)]
