"""The models against plain Python, and against what households then bought."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pytest

from incumbent.demo import data, item_cf, popularity, story
from incumbent.demo.data import Lines
from incumbent.demo.lists import read
from incumbent.models.recommender import Ask


def rows(*lines: tuple[int, int, int, int, datetime]) -> Lines:
    """Lines of (household, store, basket, product, time)."""
    household, store, basket, product, time = zip(*lines, strict=True)
    return Lines(*(np.array(column) for column in (household, store, basket, product)),
                 np.array([int(moment.timestamp()) for moment in time]), np.ones(len(lines), dtype=int))


def test_popularity_of_a_store_and_season_equals_plain_counts(past):
    store, month = 367, 9
    chain, own, every = Counter(), Counter(), Counter()
    for at, product, moment in zip(past.store.tolist(), past.product.tolist(), past.time_s.tolist(), strict=True):
        every[product] += 1
        if data.season(datetime.fromtimestamp(moment, UTC).month) == data.season(month):
            chain[product] += 1
            own[product] += at == store
    total = sum(chain.values())
    score = {item: own[item] + 1000 * count / total for item, count in chain.items()}
    best = sorted(score, key=lambda item: (-score[item], item))[:20]
    lists = popularity.train(past)
    assert [item for item, _ in lists.of("any", {"store": str(store), "season": "autumn"})] == list(map(str, best))
    top = sorted(every, key=lambda item: (-every[item], item))[:20]
    assert [item for item, _ in lists.of("any", {})] == list(map(str, top))
    unseen = sorted(chain, key=lambda item: (-chain[item], item))[:20]
    assert [item for item, _ in lists.of("any", {"store": "0", "season": "autumn"})] == list(map(str, unseen))


def test_item_cf_equals_plain_python():
    random = np.random.default_rng(5)
    at = datetime(2017, 1, 1, tzinfo=UTC)
    baskets = {n: sorted(set(random.choice(6, size=3).tolist())) for n in range(60)}
    lines = rows(*((n % 7, 1, n, item, at) for n, items in baskets.items() for item in items))
    alone, both = Counter(), Counter()
    for items in baskets.values():
        alone.update(items)
        both.update(combinations(items, 2))
    sim = defaultdict(float)
    for (i, j), c in both.items():
        if c >= 3:
            sim[i, j] = sim[j, i] = c / math.sqrt(alone[i] * alone[j]) * c / (c + 20.0)
    history = Counter((n % 7, item) for n, items in baskets.items() for item in items)
    for household in range(7):
        score = {j: history[household, j] + sum(history[household, i] * sim[i, j] for i in range(6)) for j in range(6)}
        got = item_cf.train(lines, depth=6, min_households=1).of(str(household), {})
        assert {int(item): value for item, value in got} == pytest.approx(
            {j: s for j, s in score.items() if s > 0}, abs=2e-4)
        assert [value for _, value in got] == sorted((value for _, value in got), reverse=True)


def test_short_lists_are_filled_and_strangers_get_the_fallback():
    at = datetime(2017, 1, 1, tzinfo=UTC)
    lines = rows(*((h, 1, h, item, at) for h in range(3) for item in ([7] if h else [7, 8])))
    popular = popularity.train(lines)
    cf = item_cf.train(lines, fallback=popular, min_households=1)
    assert [item for item, _ in cf.of("1", {})] == ["7", "8"]
    assert cf.of("stranger", {}) == popular.of("", {})


@pytest.fixture(scope="module")
def bought(journey):
    """What every household bought in the first two replayed weeks, and where it went first."""
    weeks = journey.lines.between(data.SPLIT, data.SPLIT + timedelta(days=14))
    items, store = defaultdict(set), {}
    for household, product, at in zip(weeks.household.tolist(), weeks.product.tolist(), weeks.store.tolist(),
                                      strict=True):
        items[str(household)].add(str(product))
        store.setdefault(str(household), str(at))
    return items, store


def test_hits_at_20_of_the_cast(past, bought, capsys):
    items, store = bought

    def hits(lists):
        context = {"season": "autumn"}
        found = [sum(item in wanted for item, _ in lists.of(user, {**context, "store": store[user]}))
                 for user, wanted in items.items()]
        return float(np.mean(found)), float(np.mean(np.array(found) > 0))

    popular, cf = story.cast("cf", past, 1)
    worse = story.cast("worse", past, 1)[1]
    table = {lists.name: hits(lists) for lists in (popular, cf, worse)}
    with capsys.disabled():
        print()
        for name, (mean, rate) in table.items():
            print(f"  {name:8} {mean:.3f} of 20 bought within 14 days, hit rate {rate:.1%}, n = {len(items)}")
    assert table["cf"][0] > 1.5 * table["popular"][0] > 1.5
    assert table["worse"][0] < 0.05 * table["popular"][0]
    assert all(len(pairs) == 20 == len({item for item, _ in pairs}) for pairs in cf.lists.values())


def test_twins_learn_from_disjoint_halves_and_the_seed_draws_the_champion(past):
    small = past.where(past.household < 400)
    first, second = (story.cast("twin", small, seed) for seed in (1, 2))
    again = story.cast("twin", small, 1)
    assert first == again
    assert first[0].lists != first[1].lists
    assert first[0].lists != second[0].lists
    assert set(first[0].lists) == set(first[1].lists)


def test_identical_is_a_copy(past):
    champion, copy = story.cast("identical", past.where(past.household < 100), 3)
    assert champion.lists == copy.lists and champion.name != copy.name


async def _ask(function, **parts):
    return await function(Ask(user_id="u", surface="home", k=2, **parts), 2)


def test_the_gateway_calls_what_was_saved(tmp_path, monkeypatch):
    import asyncio

    from incumbent.demo import models

    at = datetime(2017, 10, 1, tzinfo=UTC)
    lists = popularity.train(rows((1, 4, 1, 70, at), (1, 4, 2, 70, at), (1, 4, 2, 80, at)))
    lists.save(tmp_path / "models" / "champion.msgpack")
    assert read(tmp_path / "models" / "champion.msgpack") == lists
    monkeypatch.setenv(models.DIRECTORY_VARIABLE, str(tmp_path))
    models._lists.cache_clear()
    try:
        answer = asyncio.run(_ask(models.champion, context={"store": "4", "season": "autumn"}))
    finally:
        models._lists.cache_clear()
    assert [item for item, _ in answer] == ["70", "80"]
