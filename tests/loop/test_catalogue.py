import random
from datetime import UTC, datetime, timedelta

import pytest

from incumbent.clock import ManualClock
from incumbent.config import Config
from incumbent.events.ids import EventIds
from incumbent.events.schema import Item
from incumbent.loop.catalogue import Cataloguer, current_plan, known
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake

T0 = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = Config(models={"a": {"target": "m:a"}}, surfaces={"home": {"champion": "a"}}, delisted=["always"],
                groups={"x-red": "x"})


class Shop:
    def __init__(self):
        self.clock, self.control, self.lake = ManualClock(T0), MemoryControl(), MemoryLake(4)
        self.ids, self.sequence = EventIds(self.clock), 0
        self.job = Cataloguer(self.lake, self.control, self.clock, lambda: current_plan(CONFIG, self.control))

    def item(self, item_id, hours, **facts):
        return Item(event_id=self.ids.new(), time=T0 + timedelta(hours=hours), item_id=item_id, **facts)

    def commit(self, *items):
        self.lake.commit(items, "w", self.sequence)
        self.sequence += 1


def test_a_delisted_item_reaches_the_plan_and_comes_back():
    shop = Shop()
    assert shop.job.run_once().looked is False or shop.control.plan() is not None
    shop.commit(shop.item("i1", 0), shop.item("i2", 0, group_id="g"), shop.item("i1", 1, listed=False))
    done = shop.job.run_once()
    assert done.delisted == 1 and done.plan == shop.control.plan().hash
    assert shop.control.plan().delisted == ["always", "i1"]
    assert shop.control.plan().groups == {"x-red": "x", "i2": "g"}
    shop.commit(shop.item("i1", 2))
    shop.job.run_once()
    assert shop.control.plan().delisted == ["always"]


def test_nothing_is_published_where_nothing_changed():
    shop = Shop()
    shop.commit(shop.item("i1", 0, listed=False))
    shop.job.run_once()
    version = shop.control.plan_version()
    assert shop.job.run_once().looked is False
    shop.commit(shop.item("i1", 3, listed=False, price_minor=5, currency="EUR"))
    assert shop.job.run_once().plan is None and shop.control.plan_version() == version


@pytest.mark.parametrize("seed", range(8))
def test_the_newest_event_counts_in_whatever_order_they_arrive(seed):
    shop, rng = Shop(), random.Random(seed)
    events = [shop.item(f"i{rng.randrange(6)}", hours, listed=rng.random() < 0.5,
                        group_id=rng.choice([None, "g1", "g2"])) for hours in range(40)]
    newest = {event.item_id: event for event in events}
    rng.shuffle(events)
    while events:
        size = rng.randrange(1, 9)
        shop.commit(*events[:size])
        events = events[size:]
        if rng.random() < 0.5:
            shop.job.run_once()
    shop.job.run_once()
    found = known(shop.control)
    assert found.delisted == sorted(item for item, event in newest.items() if not event.listed)
    assert found.groups == {item: event.group_id for item, event in newest.items() if event.group_id}
