"""What a model recommends: quiet without drift, and every fault of a recommender in the part where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from incumbent.drift.prediction import exposure, prediction_reasons, prediction_scores, predictions
from incumbent.errors import DataError, StateError
from incumbent.stats.composite import Composite
from incumbent.stats.distinct import Distinct
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary
from incumbent.stats.numeric import Numeric

RNG = np.random.default_rng(5)
NAMES = [f"i{k}" for k in range(400)]
PRICE = dict(zip(NAMES, RNG.lognormal(3, 0.6, 400), strict=True))
KIND = {name: f"c{k % 8}" for k, name in enumerate(NAMES)}
WEIGHT = 1 / np.arange(1, 401) ** 0.7
WEIGHT /= WEIGHT.sum()


def shown(rng: np.random.Generator, rows: int = 3000) -> list[str]:
    return [NAMES[k] for k in rng.choice(400, rows, p=WEIGHT).tolist()]


FIT = shown(np.random.default_rng(1), 20_000)
V = Vocabulary.fit({name: FIT.count(name) for name in NAMES}, KIND)
ZERO = predictions(Items.over(V, top=100), price=Numeric.fit([PRICE[i] for i in FIT]),
                   score=Numeric.fit(np.random.default_rng(2).beta(2, 5, 5000)))


def day(seed: int, *, ids=None, score=None, price=None, delisted=()) -> Composite:
    rng = np.random.default_rng(seed)
    ids = shown(rng) if ids is None else ids
    usual = rng.beta(2, 5, len(ids))
    return ZERO.update(items=V.encode(ids, delisted=delisted), score=usual if score is None else score(usual),
                       price=[PRICE.get(i) if price is None else price for i in ids])


REFERENCE = day(100, ids=shown(np.random.default_rng(100), 12_000))
NULL = {name: [] for name in prediction_scores(day(1), REFERENCE)}
for _seed in range(20):
    for _name, _value in prediction_scores(day(_seed), REFERENCE).items():
        NULL[_name].append(_value)


def raised(current: Composite) -> set[str]:
    """Statistics that are more than three times as far out as any of 20 days without drift."""
    return {name for name, value in prediction_scores(current, REFERENCE).items()
            if value > 3 * max(max(map(abs, NULL[name])), 1e-4)}


def test_a_day_without_drift_raises_nothing():
    assert raised(day(77)) == set()


@pytest.mark.parametrize(("fault", "where"), [
    (lambda: day(7, ids=shown(np.random.default_rng(7), 2850) + ["new"] * 150), {"items/new", "items/popularity_js"}),
    (lambda: day(7, delisted=set(NAMES[:5])), {"items/delisted", "items/popularity_js"}),
    (lambda: day(7, ids=[i for i in shown(np.random.default_rng(7), 6000) if KIND[i] != "c0"]), {"items/category_js"}),
    (lambda: day(7, score=lambda s: s * 0.7), {"score/wasserstein", "score/ks", "score/numeric_js"}),
    (lambda: day(7, score=lambda s: np.where(np.arange(len(s)) < 300, np.nan, s)), {"score/absent"}),
    (lambda: day(7, price=12.5), {"price/wasserstein", "price/ks", "price/numeric_psi"}),
], ids=["new", "delisted", "a category gone", "scores shrunk", "scores missing", "one price"])
def test_faults_show_where_they_are(fault, where):
    found = raised(fault())
    assert where <= found, found
    part = next(iter(where)).split("/")[0]
    others = {name for name in found if not name.startswith(part)}
    assert not others or part == "items", others  # items have prices, so these may move with them


def test_a_part_that_says_nothing_is_a_reason_and_no_drift():
    silent = ZERO.update(items=V.encode(shown(np.random.default_rng(3))), score=[None] * 3000)
    reasons = prediction_reasons(silent, REFERENCE)
    assert reasons == dict.fromkeys(["price", "score"], "the current state has no sound values")
    assert {name.split("/")[0] for name in prediction_scores(silent, REFERENCE)} == {"items"}


def test_it_is_a_group_of_its_parts():
    a, b = day(1), day(2)
    whole = a.merge(b)
    rest = whole.subtract(b)
    assert rest.part("items") == a.part("items") and (rest.part("score").cells == a.part("score").cells).all()
    assert Composite.from_bytes(whole.to_bytes()) == whole


def test_exposure_and_refusals():
    ids = shown(np.random.default_rng(9))
    found = exposure(day(9, ids=ids), Distinct.zero().update(ids))
    assert found["coverage"].value == pytest.approx(len(set(ids)) / 400, rel=0.03)
    assert found["gini"].low <= found["gini"].value <= found["gini"].high
    with pytest.raises(DataError, match="begin empty"):
        predictions(day(1).part("items"))
    with pytest.raises(DataError, match="items and numbers"):
        predictions(Numeric.zero(edges=[0.0]))  # type: ignore[arg-type]
    with pytest.raises(StateError):
        prediction_scores(predictions(Items.over(V)), REFERENCE)
