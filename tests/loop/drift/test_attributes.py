"""Items that came after the cells were frozen, where the baseline had new ids too."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from incumbent.loop.drift.attributes import by_attribute
from incumbent.loop.drift.facts import Catalogue
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary
from incumbent.stores.tables import TIME

DAY = [datetime(2026, 3, n, tzinfo=UTC) for n in range(1, 10)]
ITEMS = [("a", 1, "bags", "old", 100), ("b", 1, "hats", "old", 300), ("early", 3, "rugs", "loom", 300),
         ("late", 6, "rugs", "loom", 300), ("first", 6, "lamps", "nova", 9900), ("bag", 6, "bags", "old", 100)]


class Lake:
    """The item events alone."""

    def scan(self, table, columns):
        del table, columns
        ids, days, categories, brands, prices = zip(*ITEMS, strict=True)
        return pa.table({
            "item_id": ids, "time": pa.array([DAY[n] for n in days], TIME), "event_id": ids, "title": ids,
            "category": categories, "brand": brands, "price_minor": prices, "currency": ["EUR"] * len(ids),
            "listed": [True] * len(ids)})


def shares(parts):
    """by -> label -> (reference, current), summed over the rows of a label."""
    found: dict = {}
    for by, labels, now, then in parts:
        for label, n, m in zip(labels, now, then, strict=True):
            before = found.setdefault(by, {}).get(label, (0, 0))
            found[by][label] = (before[0] + int(m), before[1] + int(n))
    return found


@pytest.fixture
def told():
    catalogue = Catalogue(Lake())  # type: ignore[arg-type]
    vocabulary = Vocabulary.fit({"a": 60, "b": 40}, {"a": "bags", "b": "hats"})
    kinds = {one[0]: one[2] for one in ITEMS}

    def counted(**rows):
        ids = [one for one, n in rows.items() for _ in range(n)]
        return Items.over(vocabulary).update(*vocabulary.encode(ids, [kinds.get(one) for one in ids]))

    def made(reference, current, **later):
        unknown = {one: n for one, n in {**current, **later}.items() if one not in vocabulary.ids}
        return shares(by_attribute(vocabulary, counted(**current), counted(**reference), catalogue.at(DAY[8]),
                                   catalogue.at(DAY[5]), unknown))
    return made


def test_what_came_since_has_no_reference_and_what_may_have_been_there_stays_where_it_was_counted(told):
    found = told({"a": 60, "b": 30, "early": 10}, {"a": 40, "b": 20, "early": 10, "late": 5, "first": 20, "bag": 3})
    assert found["brand"] == {"old": (90, 63), "all others": (10, 15), "nova (new)": (0, 20)}
    assert found["category"] == {"bags": (60, 43), "hats": (30, 20), "(unknown)": (10, 15), "lamps (new)": (0, 20)}
    assert found["price band"]["all others"] == (10, 10) and sum(n for _, n in found["price band"].values()) == 98


def test_where_no_matched_window_had_a_new_id_every_one_is_told(told):
    found = told({"a": 60, "b": 40}, {"a": 40, "b": 30, "early": 10, "late": 5, "first": 20, "ghost": 2})
    assert found["brand"] == {"old": (100, 70), "all others": (0, 2), "loom": (0, 15), "nova (new)": (0, 20)}
    assert found["category"] == {"bags": (60, 40), "hats": (40, 30), "(unknown)": (0, 2), "rugs": (0, 15),
                                 "lamps (new)": (0, 20)}


def test_rows_that_were_read_beyond_the_state_never_make_a_cell_negative(told):
    found = told({"a": 60, "b": 40}, {"a": 40, "first": 20}, first=25)
    assert found["category"]["lamps (new)"] == found["brand"]["nova (new)"] == (0, 20)
    assert found["category"]["(unknown)"] == found["brand"]["all others"] == (0, 0)
