"""Cells of cohorts, of models and of what the catalogue tells: plain Python over a random log, and that they add up."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta
from functools import reduce
from typing import Any

import msgspec
import numpy as np
import pytest

from incumbent.clock import ManualClock
from incumbent.config import Config, MetricsConfig
from incumbent.errors import ConfigError, NotFoundError
from incumbent.events.schema import Feedback, Item, ModelAnswer
from incumbent.events.window import Window
from incumbent.loop.attribute import Attributor
from incumbent.loop.metrics.cohorts import counted
from incumbent.loop.metrics.keys import DAY_FAMILY, Cell, packed, unpacked
from incumbent.loop.metrics.read import Reader
from incumbent.loop.metrics.set import measured
from incumbent.loop.metrics.slices_ranked import ranked
from incumbent.loop.metrics.states import MetricStates
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.golden import event_id, impression, moment

FIRST, DAYS, HISTORY = date(2026, 3, 1), 12, 3
CONFIG = MetricsConfig(
    k=3, currency="EUR", slice_keys=2, history_days=HISTORY,
    sliced=("return_rate", "bought_within", "click_through", "revenue_per_slot"),
    model_sliced=("error_rate", "timeout_rate", "latency", "cost_per_thousand", "recall", "coverage"),
    item_sliced=("bought_within", "click_through", "revenue_per_slot"),
    attributes=("visitor", "category", "brand", "price_band"), item_attributes=("season",), shard_buckets=2)
CATALOGUE = {"a": ("shoes", "Ace", "summer"), "b": ("shoes", None, "winter"), "c": ("hats", "Bix", None),
             "d": ("socks", "Ace", "winter"), "e": (None, "Cor", "spring")}


class World:
    """A random log as plain rows, and what was measured of it."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        #: day, name, user, country, items and the model's status, in the order of their times
        self.requests: list[tuple[int, str, str, str | None, list[str], str]] = []
        times: dict[str, Any] = {}
        self.bought: dict[tuple[str, str], tuple[str, int]] = {}  # (request, item) -> user, day
        events: list[Any] = [self._item(name, *told) for name, told in CATALOGUE.items()]
        for n in range(110):
            day, user = rng.randrange(DAYS), f"u{rng.randrange(14)}"
            country = rng.choice(["DE", "DE", "FR", "IT", "ES", None])
            items, status = rng.sample("abcde", 2), rng.choice(["ok", "ok", "error", "timeout"])
            self.requests.append((day, f"r{n}", user, country, items, status))
            at = times[f"r{n}"] = moment(f"{FIRST + timedelta(days=day)}T{rng.randrange(12):02}:{n % 60:02}")
            model = ModelAnswer("champion", "pop", "1", status, 20.0 + n, 2, items=items, cost=1.0)  # type: ignore[arg-type]
            events.append(msgspec.structs.replace(
                impression(f"r{n}", at, user, "home", "-", items), models=[model], k=3, session_id=user,
                context={} if country is None else {"country": country}))
            if rng.random() < 0.5:
                late = min(rng.choice([0, 0, 1, 2, 5]), DAYS - 1 - day)
                told = moment(f"{FIRST + timedelta(days=day + late)}T{rng.randrange(13, 20)}:00")
                self.bought[f"r{n}", items[0]] = user, day + late
                for action, value in (("click", None), ("purchase", 100 * n)):
                    events.append(Feedback(
                        event_id=event_id(f"{action}{n}", told), time=told, user_id=user, item_id=items[0],
                        action=action,  # type: ignore[arg-type]
                        request_id=f"r{n}", value_minor=value, currency="EUR" if value is not None else None))
        self.requests.sort(key=lambda one: (times[one[1]], one[1]))
        self.lake, self.control = MemoryLake(4), MemoryControl()
        self.lake.commit(events, "g1", 1)
        clock = ManualClock(moment("2026-04-20T00:00"))
        Attributor(self.lake, self.control, clock, dict).run_once()
        MetricStates(self.lake, self.control, clock, lambda: CONFIG).run_once()

    @staticmethod
    def _item(name: str, category: str | None, brand: str | None, season: str | None) -> Item:
        at = moment("2026-02-01T00:00")
        return Item(event_id=event_id(name, at), time=at, item_id=name, category=category, brand=brand,
                    price_minor=500 if name < "c" else 6_000, attributes={} if season is None else {"season": season})

    def states(self, cell: Cell, day: int) -> dict[str, Any]:
        on = FIRST + timedelta(days=day)
        rows = [row for row in self.control.range(cell.day_key, Window.of_day(on)) if row.key == cell.day_key]
        return unpacked(rows[0]) if rows else {}

    def parts(self, by: str, name: str, day: int, **of: str) -> dict[str, Any]:
        """Value -> its state, of the cells that have one."""
        prefix, on = Cell("home", by=by, **of).day_key.partition("/is=")[0], FIRST + timedelta(days=day)
        found = {Cell.of(row.key): unpacked(row) for row in self.control.range(prefix, Window.of_day(on))}
        return {cell.value or "": states[name] for cell, states in found.items() if name in states}

    def kept(self, by: str) -> set[str]:
        return {value for day in range(DAYS) for value in self.parts(by, "cohort:slots_bought", day)}


@pytest.fixture(scope="module", params=[2])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def test_cohorts_by_country_against_plain_python(world: World) -> None:
    """A user-day is in the cell of its first request; who comes back counts in the cell of the day they had left."""
    first: dict[tuple[str, int], str | None] = {}
    slots: Counter[tuple[str, int]] = Counter()
    for day, _, user, country, items, _ in world.requests:
        first.setdefault((user, day), country)
        slots[user, day] += len(items)
    kept = world.kept("country") - {"other", "unknown"}
    assert len(kept) == 2

    def cell(user: str, day: int) -> str:
        country = first[user, day]
        return "unknown" if country is None else country if country in kept else "other"

    back: dict[tuple[int, str], Counter[str]] = {}
    sold: dict[tuple[int, str], Counter[str]] = {}
    shown_on = {name: day for day, name, *_ in world.requests}
    for user, day in first:
        back.setdefault((day, cell(user, day)), Counter())["all"] += 1
        sold.setdefault((day, cell(user, day)), Counter())["all"] += slots[user, day]
        before = [on for who, on in first if who == user and on < day]
        if before:
            back.setdefault((day, cell(user, max(before))), Counter())[str(day - max(before))] += 1
    for (request, _), (user, day) in world.bought.items():
        began = shown_on[request]
        sold.setdefault((day, cell(user, began)), Counter())[str(day - began)] += 1
    for name, expected in (("cohort:users_returned", back), ("cohort:slots_bought", sold)):
        for day in range(DAYS):
            got = world.parts("country", name, day)
            for value in {*got, *(of for on, of in expected if on == day)}:
                sums = dict(zip(got[value].variables, got[value].sums.sum(axis=0), strict=True))
                assert {key: n for key, n in sums.items() if n} == expected[day, value], (name, day, value)


def test_whoever_was_away_longer_than_history_goes_has_come_back_all_the_same(world: World) -> None:
    back = [world.states(Cell("home"), day)["cohort:users_returned"].sums for day in range(DAYS)]
    assert sum(sums[:, HISTORY + 2:].sum() for sums in back) > 0
    for day in range(DAYS):
        new = world.parts("visitor", "cohort:users_returned", day).get("new")
        seen = {user for on, _, user, *_ in world.requests if day - HISTORY <= on < day}
        here = {user for on, _, user, *_ in world.requests if on == day}
        assert (0 if new is None else new.sums[:, 0].sum()) == len(here - seen)


@pytest.mark.parametrize("by", ["country", "visitor", "category", "brand", "season", "price_band"])
def test_cells_add_up_to_the_whole_on_every_day(world: World, by: str) -> None:
    """Also of what was done on a day on which nobody was shown anything: late purchases are in a cell."""
    names = {"cohort:slots_bought": slice(None), "click_through": slice(None), "revenue_per_slot": slice(0, 1)}
    names |= {"cohort:users_returned": slice(None)} if by in ("country", "visitor") else {}
    checked = 0
    for day in range(DAYS):
        whole = world.states(Cell("home"), day)
        for name, columns in names.items():
            parts = list(world.parts(by, name, day).values())
            if name in whole:
                total = sum(part.sums[:, columns] for part in parts)
                assert total == pytest.approx(whole[name].sums[:, columns]), (name, day)
                checked += bool(whole[name].sums.any())
    assert checked > DAYS


def test_models_are_cut_by_the_context_of_the_request_and_add_up(world: World) -> None:
    kept = world.kept("country")
    metrics = measured(CONFIG, "EUR").all()
    for day in range(DAYS):
        whole = world.states(Cell("home", model="pop", role="champion"), day)
        parts = {of: world.parts("country", of, day, model="pop", role="champion") for of in (
            "error_rate", "timeout_rate", "latency_p99", "cost_per_thousand", "recall@3", "coverage@3")}
        wanted: dict[str, list[str]] = {}
        for on, _, _, country, _, status in world.requests:
            if on == day:
                known = "unknown" if country is None else country if country in kept else "other"
                wanted.setdefault(known, []).append(status)
        assert parts["error_rate"].keys() == wanted.keys()
        for value, statuses in wanted.items():
            for name, wrong in (("timeout_rate", ["timeout"]), ("error_rate", ["error", "timeout", "invalid"])):
                made = metrics[name].estimate(parts[name][value])
                assert made.n == len(statuses)
                assert made.value == pytest.approx(sum(one in wrong for one in statuses) / len(statuses))
        for name, found in parts.items():
            if name in whole:
                merged = metrics[name].estimate(reduce(lambda one, other: one.merge(other), found.values()))
                known = metrics[name].estimate(whole[name])
                assert (merged.n, merged.value) == (known.n, pytest.approx(known.value)), name


def test_what_cannot_be_cut_is_refused_with_the_reason() -> None:
    def cut(**more: Any) -> None:
        measured(MetricsConfig(**more))

    cut(sliced=("return_rate", "bought_within_7d", "latency"), model_sliced=("latency_p99", "overlap"),
        item_sliced=("bought_within",))
    with pytest.raises(ConfigError, match="only what is counted by user-day, and slots bought, can be told by item"):
        cut(item_sliced=("ndcg_achievable",))
    with pytest.raises(ConfigError, match="only what is counted by user-day"):
        cut(item_sliced=("return_rate",))
    with pytest.raises(ConfigError, match=r"it is of models alone: metrics\.model_sliced"):
        cut(sliced=("cost_per_thousand",))
    with pytest.raises(ConfigError, match="it is of the surface alone"):
        cut(model_sliced=("conversion",))
    with pytest.raises(NotFoundError, match="did you mean 'latency'"):
        cut(model_sliced=("latenc",))
    with pytest.raises(ValueError, match=r"metrics.item_attributes: an attribute of that name is there already"):
        Config.model_validate({"metrics": {"item_attributes": ["category"]}})


def day_states(control: MemoryControl, day: date, cells: dict[Cell, dict[str, Any]]) -> None:
    control.put(day, 0, DAY_FAMILY, [packed(cell.day_key, day, 0, states) for cell, states in cells.items()])


def test_worst_cells_hold_cohorts_that_stay_away_and_models_that_slow_down() -> None:
    """In DE half as many come back, and the candidate is slow and fails on phones; elsewhere nothing changes."""
    rng, control, last = np.random.default_rng(4), MemoryControl(), date(2026, 6, 29)
    kinds = measured(CONFIG, "EUR").all()
    model = {"model": "new", "role": "candidate"}
    users = {value: [f"{value}{n}" for n in range(200)] for value in ("DE", "FR")}
    for ago in range(40):
        day, now = last - timedelta(days=ago), ago < 7
        share = {"DE": 0.2 if now else 0.5, "FR": 0.5}
        back = {value: [(user, 1) for user in users[value] if rng.random() < share[value]] for value in users}
        cells = {Cell("home", by="country", value=value): {"cohort:users_returned": counted(
            28, users[value], [1] * 200, back[value])} for value in users}
        cells[Cell("home")] = {"cohort:users_returned": counted(
            28, [*users["DE"], *users["FR"]], [1] * 400, [*back["DE"], *back["FR"]])}
        made = []
        for slow, wrong in ((400.0, 0.2) if now else (100.0, 0.02), (100.0, 0.02)):
            failed = (rng.random(300) < wrong).astype(float)
            made.append({"latency_p99": kinds["latency_p99"].state().update(rng.gamma(20, slow / 20, 300)),
                         "error_rate": kinds["error_rate"].state().update(
                             rng.integers(0, 128, 300), np.stack([failed, np.ones(300)], axis=1))})
        cells |= {Cell("home", by="device", value="phone", **model): made[0],
                  Cell("home", by="device", value="desk", **model): made[1],
                  Cell("home", **model): {name: made[0][name].merge(made[1][name]) for name in made[0]}}
        day_states(control, day, cells)
    config = CONFIG.model_copy(update={"baseline_days": 20})
    cells = Reader(control).cells("home", last - timedelta(days=60), last)
    found = ranked(cells, kinds, last - timedelta(days=6), last, config)
    led = {(one.metric, one.value, one.model) for one in found if one.harm and one.low is not None and one.harm > 0.3}
    assert {("return_rate_1d", "DE", None), ("latency_p99", "phone", "new"), ("error_rate", "phone", "new")} <= led
    assert not any(value in ("FR", "desk") for _, value, _ in led)
    by = {(one.metric, one.value): one for one in found}
    one = by["return_rate_1d", "DE"]
    assert one.n == 7 * 200 and one.now == pytest.approx(0.2, abs=0.04) and one.before == pytest.approx(0.5, abs=0.04)
    assert one.share == pytest.approx(0.5) and one.worst == pytest.approx(one.harm * one.share)
    slow = by["latency_p99", "phone"]
    assert slow.low is not None and 2 < slow.low < 3 < slow.high < 4 and slow.n == 7 * 300
    assert slow.share == pytest.approx(0.5)
    assert slow.worst == 0 < by["error_rate", "phone"].worst, "order statistics take requests for independent"
