"""The laws of a lake, asked of any ``make(directory, buckets) -> Lake``.

A lake that outlives its process carries the tag ``durable`` (``make.tags = frozenset({"durable"})``), and is asked the
laws of `incumbent.testing.checks.lake_durable_laws` too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import incumbent.testing.checks.lake_durable_laws
import incumbent.testing.checks.lake_laws  # noqa: F401  both register their laws
from incumbent.stores.store import Lake
from incumbent.testing.checks.lake_samples import LAKES
from incumbent.testing.checks.suite import Result


def memory_lake(directory: Path, buckets: int) -> Lake:
    """The lake in memory; the folder is not used."""
    from incumbent.stores.memory_lake import MemoryLake

    return MemoryLake(buckets)


def delta_lake(directory: Path, buckets: int) -> Lake:
    """The lake of Delta tables, with a checkpoint often enough to be met."""
    from incumbent.stores.lake import DeltaLake

    return DeltaLake(directory, buckets, checkpoint_every=5)


delta_lake.tags = frozenset({"durable"})  # type: ignore[attr-defined]
delta_lake.disk = (  # type: ignore[attr-defined]  # what a disk may refuse
    "incumbent.stores.sync.make_directory", "incumbent.stores.sync.sync_file", "incumbent.stores.sync.sync_directory",
    "pyarrow.parquet.write_table", "deltalake.table.DeltaTable.create",
    "deltalake.table.DeltaTable.create_write_transaction", "deltalake.table.DeltaTable.create_checkpoint",
)
delta_lake.steps = (  # type: ignore[attr-defined]  # where a crash may stop a verb
    *delta_lake.disk,  # type: ignore[attr-defined]
    "incumbent.stores.delta.DeltaFolder.prepare", "incumbent.stores.delta.DeltaFolder.write",
    "incumbent.stores.delta.DeltaFolder.commit", "incumbent.stores.delta.DeltaFolder.vacuum",
)
MAKERS: dict[str, Callable[..., Lake]] = {"memory": memory_lake, "delta": delta_lake}


def run(makers: dict[str, Callable[..., Lake]] | None = None) -> list[Result]:
    """The results of all laws over our lakes, or over `makers`."""
    chosen = MAKERS if makers is None else makers
    return [case.run() for name, make in chosen.items() for case in LAKES.cases_of(name, make)]
