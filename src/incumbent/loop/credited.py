"""The table between attribution and outcome rows: which feedback (`row`) is worth what at which exposure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.experiments.credit import CreditTerms

#: the terms of a surface and an experiment, or None
TermsOf = Callable[[str, str | None], CreditTerms]

EXPOSURE = (
    "request_id", "exposed_us", "surface", "experiment", "stage", "lane", "kind", "owner", "pair_id", "position")

CREDIT_SCHEMA = pa.schema([
    ("row", pa.int64()), ("request_id", pa.string()), ("exposed_us", pa.int64()), ("surface", pa.string()),
    ("experiment", pa.string()), ("stage", pa.string()), ("lane", pa.string()), ("kind", pa.string()),
    ("owner", pa.string()), ("pair_id", pa.int64()), ("position", pa.int64()),
    ("share", pa.float64()), ("rule", pa.string()), ("reason", pa.string()),
])


def without_exposure(rows: NDArray[np.int64], reason: str | pa.Array) -> pa.Table:
    """Rows that name no exposure and no group, with their reason."""
    count = len(rows)
    reasons = pa.array([reason] * count, pa.string()) if isinstance(reason, str) else reason
    columns = {"row": pa.array(rows, pa.int64()), "share": pa.array(np.zeros(count)), "reason": reasons}
    return pa.table([columns.get(f.name, pa.nulls(count, f.type)) for f in CREDIT_SCHEMA], schema=CREDIT_SCHEMA)
