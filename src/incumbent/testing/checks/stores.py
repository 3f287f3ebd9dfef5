"""The contract of a store bundle, `open_stores(config, clock, role=...)`: its Log, its Control and its Lake.

An implementation with the tag ``durable`` (``open_stores.tags``) is also asked what must outlive a process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from incumbent import config, registry
from incumbent.clock import SystemClock
from incumbent.stores.store import Lake, Stores
from incumbent.testing.checks import baseline_laws, conclusion_laws, control_laws, durable_laws, log_laws
from incumbent.testing.checks.bench import bench
from incumbent.testing.checks.suite import Result, Suite, resolve

SUITE = Suite("stores", bench)
for _laws in (log_laws, control_laws, conclusion_laws, baseline_laws, durable_laws):
    _laws.add_to(SUITE)

_OUR_LAKES = {"embedded": "delta", "memory": "memory"}  # what `lakes` knows how to stop at each step


def run(names: list[str] | None = None) -> list[Result]:
    """All laws of the named bundles (registered names or ``module:open_stores``); None = all registered."""
    from incumbent.testing.checks import lakes

    opened: list[Stores] = []
    chosen = registry.names("stores") if names is None else names
    makers = {name: lakes.MAKERS[_OUR_LAKES[name]] if name in _OUR_LAKES else _maker(resolve("stores", name), opened)
              for name in chosen}
    try:
        return SUITE.run(chosen) + lakes.run(makers)
    finally:
        for stores in opened:
            stores.close()


def _maker(open_stores: Callable[..., Stores], opened: list[Stores]) -> Callable[[Path, int], Lake]:
    """How the lake laws make a bundle's lake: as the loop would open it."""

    def make(directory: Path, buckets: int) -> Lake:
        wanted = config.parse({"stores": {"directory": str(directory), "buckets": buckets}})
        opened.append(open_stores(wanted, SystemClock(), role="loop"))
        lake: Lake = opened[-1].lake
        return lake

    make.tags = getattr(open_stores, "tags", frozenset())  # type: ignore[attr-defined]
    return make
