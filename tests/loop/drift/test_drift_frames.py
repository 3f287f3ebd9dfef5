"""Frames of context fields hold nothing that one shopper alone could be told by; samples stay small."""

from __future__ import annotations

import pyarrow as pa
import pytest

from incumbent.errors import DataError
from incumbent.loop.drift.facts import Facts
from incumbent.loop.drift.frames import fit
from incumbent.loop.drift.sample import Sample


def field(texts: list[str | None], users: list[str]) -> pa.Table:
    return pa.table({"start": [0] * len(texts), "user": users, "number": pa.nulls(len(texts), pa.float64()),
                     "text": pa.array(texts, pa.string())})


def categories(rows: pa.Table) -> tuple[str, ...]:
    facts: Facts | None = None  # a field of the context asks the catalogue nothing
    return tuple(fit("context/home/field", rows, facts, seed=0, ages=7).vocabulary.ids)  # type: ignore[arg-type]


def test_an_address_per_shopper_is_an_identifier_however_often_each_came():
    users = [f"u{n % 300}" for n in range(3_000)]
    with pytest.raises(DataError, match="an identifier and no category") as found:
        categories(field([f"{user}@example.org" for user in users], users))
    assert "@" not in str(found.value)


def test_a_value_of_few_shoppers_is_not_kept():
    users = [f"u{n % 100}" for n in range(1_000)]
    texts = ["their own" if user == "u7" else ["phone", "desktop"][n % 2] for n, user in enumerate(users)]
    assert set(categories(field(texts, users))) == {"phone", "desktop"}


@pytest.mark.parametrize("sizes", [[5], [4] * 50, [1] * 37, [100, 1, 100]])
def test_a_sample_is_every_so_manieth_row_of_all(sizes):
    sample, at = Sample(cap=10), 0
    for size in sizes:
        sample.add(pa.table({"x": list(range(at, at + size))}))
        at += size
    kept = sample.rows()["x"].to_pylist()
    step = kept[1] - kept[0]
    assert kept == list(range(0, at, step))
    assert len(kept) <= 20 and (step == 1 or len(kept) >= 10)
