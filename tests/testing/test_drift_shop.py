"""The seeded shop: what each fault does to ids and vectors, and that nothing else moves."""

from __future__ import annotations

import numpy as np
import pytest

from incumbent.errors import DataError
from incumbent.testing.drift_shop import SHOP_FAULTS, ShopWorld

SHOP = ShopWorld.seeded(3, items=400, dimension=16, clusters=5)
N = 2000


def window(fault=None, seed=1):
    return SHOP.window(np.random.default_rng(seed), N, fault)


@pytest.mark.parametrize("fault", [None, *SHOP_FAULTS])
def test_a_window_is_given_by_its_seed(fault):
    one, two, other = window(fault), window(fault), window(fault, seed=2)
    assert np.array_equal(one.ids, two.ids) and np.array_equal(one.vectors, two.vectors)
    assert one.vectors.shape == (N, 16) and not np.array_equal(one.ids, other.ids)


def test_without_a_fault_every_row_is_its_items_vector():
    served = window()
    assert served.ids.max() < 400 and np.array_equal(served.vectors, SHOP.vectors[served.ids])
    assert served.names[0] == f"item {served.ids[0]}"


def test_what_each_fault_does():
    new = window("new_items_5")
    assert (new.ids >= 400).sum() == 100 and len(set(new.ids[new.ids >= 400])) <= 40
    churned, plain = window("item_churn"), window()
    hit = churned.ids >= 400
    assert len(np.unique(churned.ids[hit])) <= 40 and np.array_equal(churned.ids % 400, plain.ids)
    assert np.array_equal(churned.vectors[~hit], plain.vectors[~hit])
    assert (churned.vectors[hit] != plain.vectors[hit]).any(axis=1).all()
    zeroed = window("zeroed_features").vectors == 0
    assert zeroed[:, :2].sum() == 2 * N // 10 and not zeroed[:, 2:].any()
    skewed = window("version_skew")
    other = (skewed.vectors != SHOP.vectors[skewed.ids]).any(axis=1)
    assert other.sum() == N // 10
    assert np.allclose(np.linalg.norm(skewed.vectors, axis=1), np.linalg.norm(SHOP.vectors[skewed.ids], axis=1))
    bots = window("bot_traffic")
    assert (bots.ids != plain.ids).sum() <= N // 20 and len(set(bots.ids[bots.ids != plain.ids])) <= 20


def test_a_sale_moves_demand_and_an_unknown_fault_is_an_error():
    share = np.bincount(window("sale_day").ids, minlength=400) / N
    usual = np.bincount(window().ids, minlength=400) / N
    assert np.abs(share - usual).sum() > 0.1
    with pytest.raises(DataError, match="no such fault"):
        window("strike")
