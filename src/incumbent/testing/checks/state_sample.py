"""What the laws of states are tried on: a State class with example rows, dealt into shards and compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np

from incumbent.errors import StateError
from incumbent.stats.estimate import Estimate

SEED = 20260101  # of the example batches
ROWS = 60
TOLERANCE = 1e-9  # of the magnitudes, for what is not exact


class Sample:
    """A State class with example data: one batch of rows that all its example configurations can take."""

    def __init__(self, cls: Any, rows: int = ROWS) -> None:
        self.cls = cls
        self.rng = np.random.default_rng(SEED)
        self.rows = rows
        self.batch: tuple[Any, ...] = cls.example_batch(self.rng, rows)
        self.exact = "exact" in cls.tags

    def zeros(self) -> list[Any]:
        """The empty state of every example configuration."""
        return [self.cls.zero(**config) for config in self.cls.example_configs]

    def take(self, rows: Any) -> tuple[Any, ...]:
        """The batch with these rows only."""
        return tuple(arg[rows] if isinstance(arg, np.ndarray) else [arg[i] for i in rows] for arg in self.batch)

    def shards(self, zero: Any, sizes: list[int]) -> list[Any]:
        """One state per shard of so many rows, rows dealt at random."""
        order, out, at = self.rng.permutation(self.rows), [], 0
        for size in sizes:
            out.append(zero.update(*self.take(order[at:at + size])))
            at += size
        return out

    def same(self, one: Any, two: Any, why: str) -> None:
        """Equal to the bit where the class is tagged exact, else within 1e-9 in every estimate."""
        if self.exact:
            assert one.to_bytes() == two.to_bytes(), f"{why}: the bytes differ"
        a, b = one.estimates(), two.estimates()
        assert a.keys() == b.keys(), f"{why}: estimates {sorted(a)} against {sorted(b)}"
        for name in a:
            assert _close(a[name], b[name]), f"{why}: {name} is {a[name]} against {b[name]}"


def _close(a: Estimate, b: Estimate) -> bool:
    if (a.n, a.reason) != (b.n, b.reason):
        return False
    sizes = [abs(x) for e in (a, b) for x in (e.value, e.low, e.high, (e.se or 0) * math.sqrt(e.n))
             if x is not None and math.isfinite(x)]
    bound = TOLERANCE * max(sizes, default=0.0)
    pairs = [(a.value, b.value), (a.low, b.low), (a.high, b.high), (a.se, b.se)]
    return all(x == y or (x is not None and y is not None and abs(x - y) <= bound) for x, y in pairs)


def refused(act: Callable[[], Any], what: str) -> None:
    try:
        act()
    except StateError:
        return
    raise AssertionError(f"{what} does not raise StateError")


def is_float(arg: Any) -> bool:
    return isinstance(arg, np.ndarray) and arg.dtype.kind == "f"


def filled(sample: Sample, value: float) -> tuple[Any, ...]:
    """Five rows whose float arguments are all `value`."""
    return tuple(np.full_like(arg, value) if is_float(arg) else arg for arg in sample.take(np.arange(5)))


def shipped(name: str) -> dict[int, tuple[str, dict[str, float]]]:
    """The golden bytes of a built-in state."""
    stored = json.loads((files("incumbent.testing.checks") / "golden_states.json").read_text(encoding="utf-8"))
    return {int(version): (entry["hex"], entry["values"]) for version, entry in stored.get(name, {}).items()}
