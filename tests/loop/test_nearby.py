"""The kernel in front of the join keeps exactly the wanted slots, whatever the table looks like."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from incumbent.loop import nearby as module
from incumbent.loop.nearby import Wanted, nearby
from incumbent.loop.relations import SLOT_FIELDS

SLOT = pa.struct([*SLOT_FIELDS.items(), ("score", pa.float64())])


def table(rows: list[tuple[str, list[str] | None]]) -> pa.Table:
    lists = [None if items is None else [
        {"item_id": item, "position": at, "kind": "pair", "owner": "candidate", "pair_id": at, "score": 0.5}
        for at, item in enumerate(items, 1)] for _, items in rows]
    return pa.table({"user_id": pa.array([user for user, _ in rows], pa.string()),
                     "row": pa.array(range(len(rows)), pa.int64()), "slots": pa.array(lists, pa.list_(SLOT))})


def kept(found: pa.Table) -> list[tuple[int, str, str, int]]:
    return [(row["row"], row["user_id"], row["item_id"], row["position"]) for row in found.to_pylist()]


def wanted(pairs: set[tuple[str, str]]) -> Wanted:
    users, items = zip(*sorted(pairs), strict=True)
    return Wanted(pa.chunked_array([pa.array(users)]), pa.chunked_array([pa.array(items)]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("bits", [1, 22])  # with 1 bit nearly everything passes the first table
def test_exactly_the_wanted_slots(seed: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOOM_BITS", bits)
    rng = random.Random(seed)
    rows: list[tuple[str, Any]] = [
        (f"u{rng.randrange(8)}", rng.choice([None, [], rng.sample([f"i{n}" for n in range(9)], rng.randrange(1, 6))]))
        for _ in range(60)]
    pairs = {(f"u{rng.randrange(12)}", f"i{rng.randrange(12)}") for _ in range(rng.choice([3, 40]))}
    whole = table(rows)
    chunked = pa.concat_tables([whole.slice(0, 7), whole.slice(7, 30), whole.slice(37)])
    expected = [(at, user, item, place) for at, (user, items) in enumerate(rows)
                for place, item in enumerate(items or [], 1) if (user, item) in pairs]
    for form in (whole, chunked):
        assert kept(nearby(form, wanted(pairs))) == expected


def test_nothing_wanted_is_nothing_kept() -> None:
    found = nearby(table([("u1", ["a", "b"])]), wanted({("u2", "a"), ("u1", "c")}))
    assert found.num_rows == 0
    assert nearby(table([]), wanted({("u", "i")})).num_rows == 0
    assert found.column_names == ["user_id", "row", *SLOT_FIELDS]
