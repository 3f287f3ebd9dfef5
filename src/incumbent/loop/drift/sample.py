"""Rows as they come, thinned evenly over all of them, so that a frame is fitted in memory that does not grow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

CAP = 500_000  # rows that a frame is fitted on: so many to twice as many


class Sample:
    """Rows as they come, thinned evenly over all of them: `CAP` to twice as many stay, whatever comes.

    >>> sample = Sample(cap=2)
    >>> for first in (0, 3, 6):
    ...     sample.add(pa.table({"x": [first, first + 1, first + 2]}))
    >>> sample.rows()["x"].to_pylist()
    [0, 4, 8]
    """

    def __init__(self, cap: int = CAP) -> None:
        self._cap, self._every, self._seen, self._kept = cap, 1, 0, 0
        self._tables: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Keep every so manieth row of all that came."""
        at = np.arange(-self._seen % self._every, rows.num_rows, self._every)
        self._seen += rows.num_rows
        self._tables.append(rows.take(pa.array(at)))
        self._kept += len(at)
        while self._kept > 2 * self._cap:
            whole = self.rows()
            self._tables = [whole.take(pa.array(np.arange(0, whole.num_rows, 2)))]
            self._every, self._kept = 2 * self._every, self._tables[0].num_rows

    def rows(self) -> pa.Table:
        """What was kept."""
        return pa.concat_tables(self._tables, promote_options="permissive").combine_chunks()
