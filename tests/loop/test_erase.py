"""Forgetting a shopper, over memory and embedded stores."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from incumbent import config as configs
from incumbent import registry
from incumbent.clock import ManualClock
from incumbent.errors import DataError
from incumbent.events import codec
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit, Feedback
from incumbent.loop.act import Actor
from incumbent.loop.erase import KIND, Eraser, subject_of
from incumbent.loop.plan import build_plan
from incumbent.loop.seal import Sealer
from incumbent.stores.store import Matured, Record

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture(params=["memory", "embedded"])
def shop(request, tmp_path):
    clock = ManualClock(NOW)
    config = configs.parse({"stores": {"directory": str(tmp_path / "data")}})
    stores = registry.load("stores", request.param)(config, clock, role="loop")
    ids = EventIds(clock, random=random.Random(1).randbytes)
    yield stores, clock, ids, tmp_path / "data"
    stores.log.close()
    stores.control.close()


def feedback(ids, user):
    event = Feedback(event_id=ids.new(), time=NOW, user_id=user, item_id="i1", action="click")
    return Record(event.event_id, "feedback", codec.encode(event))


def unit(user):
    return Matured("e1", user, "interleave", "canary", NOW, NOW + timedelta(days=7), 1.0, 0.0, 2.0, 100.0, 3)


def fill(stores, clock, ids):
    stores.log.append([feedback(ids, user) for user in ("gone-shopper", "kept-shopper") * 3]).result()
    sealer = Sealer(stores.log, stores.lake, stores.control, clock, holder="loop")
    sealer.run_once()
    stores.log.append([feedback(ids, "gone-shopper")]).result()
    stores.control.seal("e1", NOW.date(), [unit("gone-shopper"), unit("kept-shopper")], NOW)
    stores.control.exclude("gone-shopper", "i9", NOW)
    return sealer


def do(shop, user="gone-shopper", **how):
    stores, clock, ids, _ = shop
    return Eraser(stores, clock, ids).erase(user, **{"actor": "ada", "reason": "asked to be forgotten", **how})


def test_everything_of_one_shopper_goes_and_nothing_else(shop):
    stores, clock, ids, _ = shop
    fill(stores, clock, ids).stop()
    seal = stores.control.seals("e1")
    erased = do(shop)
    assert erased.rows["inbox"] == 1 and erased.rows["lake.feedback"] == 3 and erased.rows["control.matured"] == 1
    assert stores.lake.scan("feedback")["user_id"].to_pylist() == ["kept-shopper"] * 3
    assert [row.unit for row in stores.control.matured("e1")] == ["kept-shopper"]
    assert stores.control.seals("e1") == seal
    assert dict(stores.control.exclusions()[1]).get("gone-shopper", frozenset()) == frozenset()
    assert do(shop).rows == {}


def test_the_audit_row_stays_and_names_nobody(shop):
    stores, clock, ids, _ = shop
    fill(stores, clock, ids).stop()
    do(shop)
    [audit] = stores.control.conclusions("audit")
    assert isinstance(audit, Audit)
    assert (audit.actor, audit.action, audit.subject) == ("ada", "user.erase", subject_of("gone-shopper"))
    assert b"gone-shopper" not in codec.encode(audit)


def test_no_byte_of_the_id_is_left_on_disk(shop):
    stores, clock, ids, directory = shop
    fill(stores, clock, ids).stop()
    do(shop)
    stores.log.close()
    stores.control.close()
    left = [path for path in directory.rglob("*") if path.is_file() and b"gone-shopper" in path.read_bytes()]
    assert left == []


def test_while_somebody_seals_the_loop_does_it(shop):
    stores, clock, ids, directory = shop
    fill(stores, clock, ids)  # and keeps the lease
    asked = do(shop)
    assert (asked.done, asked.rows) == (False, {})
    assert stores.lake.scan("feedback").num_rows == 6
    eraser = Eraser(stores, clock, ids)
    actor = Actor(stores.control, stores.log, clock, lambda: build_plan(configs.parse({}), []), holder="loop",
                  more={KIND: eraser.carry_out})
    assert actor.run_once().failed == 0
    assert stores.lake.scan("feedback").num_rows == 3
    assert {a.action for a in stores.control.conclusions("audit")} == {"user.erase.asked", "user.erase"}
    stores.control.close()
    assert not [path for path in directory.rglob("control*") if b"gone-shopper" in path.read_bytes()]


@pytest.mark.parametrize("missing", ["actor", "reason"])
def test_it_needs_a_name_and_a_reason(shop, missing):
    with pytest.raises(DataError, match=missing):
        do(shop, **{missing: " "})
