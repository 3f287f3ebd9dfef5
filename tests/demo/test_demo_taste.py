"""The taste space and where households stand in it, against dictionaries and loops."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest

from incumbent.demo import data, taste
from incumbent.demo.shoppers import trips


@pytest.fixture(scope="module")
def small(past):
    """A sixth of the households of the training months."""
    return past.where(past.household % 6 == 0)


@pytest.fixture(scope="module")
def space(small):
    return taste.train(small)


def test_the_factors_give_back_the_shrunk_mutual_information_as_well_as_so_few_can(small, space):
    buyers: dict[int, set[int]] = {}
    baskets: dict[int, set[int]] = {}
    for household, basket, product in zip(small.household.tolist(), small.basket.tolist(), small.product.tolist(),
                                          strict=True):
        buyers.setdefault(product, set()).add(household)
        baskets.setdefault(basket, set()).add(product)
    kept = sorted(product for product, who in buyers.items() if len(who) >= 20)
    assert space.products.tolist() == kept and space.vectors.shape == (len(kept), taste.DIMENSIONS)
    alone: Counter[int] = Counter()
    together: Counter[tuple[int, int]] = Counter()
    place = {product: i for i, product in enumerate(kept)}
    for held in baskets.values():
        mine = [place[product] for product in held if product in place]
        alone.update(mine)
        together.update((i, j) for i in mine for j in mine if i != j)
    matrix = np.zeros((len(kept), len(kept)))
    for (i, j), c in together.items():
        if c >= 3:
            matrix[i, j] = max(0.0, math.log(c * len(baskets) / (alone[i] * alone[j]))) * c / (c + 20)
    largest = np.sort(np.linalg.eigvalsh(matrix))[::-1][:taste.DIMENSIONS]
    assert np.allclose((space.vectors.astype(float) ** 2).sum(axis=0), largest, rtol=1e-3)
    assert np.allclose(matrix @ space.vectors, space.vectors * largest, atol=0.02 * largest[0])


def test_equal_lines_give_equal_spaces(small, space):
    again = taste.train(small)
    assert (again.vectors == space.vectors).all()
    assert (space.vectors[np.abs(space.vectors).argmax(axis=0), np.arange(taste.DIMENSIONS)] > 0).all()


def test_a_household_stands_at_its_last_basket_and_never_sees_ahead(journey, small, space):
    lines = journey.lines.where(journey.lines.household % 6 == 0)
    asked = trips(lines.between(data.SPLIT, data.SPLIT.replace(month=10)))[::37]
    found = taste.of_trips(space, lines, asked)
    vectors = dict(zip(space.products.tolist(), space.vectors, strict=True))
    baskets: dict[int, tuple[int, int, list[int]]] = {}
    for household, basket, product, at in zip(lines.household.tolist(), lines.basket.tolist(), lines.product.tolist(),
                                              lines.time_s.tolist(), strict=True):
        if product in vectors:
            baskets.setdefault(basket, (household, at, []))[2].append(product)
    assert len(asked) > 30
    for trip in asked:
        past = [(at, basket, products) for basket, (who, at, products) in baskets.items()
                if str(who) == trip.household and at < trip.asks_at.timestamp()]
        if not past:
            assert trip.basket not in found
            continue
        own = np.mean([vectors[product] for product in max(past)[2]], axis=0)
        assert np.allclose(found[trip.basket], own, atol=1e-5)
    later = lines.where(lines.time_s < max(trip.asks_at for trip in asked).timestamp())
    assert taste.of_trips(space, later, asked) == found  # what is bought afterwards changes nothing


def test_items_without_a_vector_have_none(space):
    known = str(space.products[0])
    assert space.of_items([known, "1"]) == {known: space.vectors[0].tolist()}
    nobody = dataclasses.replace(space, products=space.products + 1)
    assert nobody.rows(space.products[:1]).tolist() == [-1]
