"""Forgetting a shopper, over memory and embedded stores."""

import random
import sqlite3
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from incumbent import config as configs
from incumbent import registry
from incumbent.clock import ManualClock
from incumbent.errors import DataError, StoreError
from incumbent.events import codec
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit, Feedback
from incumbent.loop.act import Acted, Errands
from incumbent.loop.erase import KIND, LEASES, RETURNING, Eraser, subject_of
from incumbent.loop.seal import Sealer
from incumbent.stores import control_engine, inbox_file
from incumbent.stores.control import SqlControl
from incumbent.stores.store import Matured, OutboxRow, Record

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SECRET = b"a secret of the service"


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
    return Eraser(stores, clock, ids, secret=SECRET).erase(
        user, **{"actor": "ada", "reason": "asked to be forgotten", **how})


def errands(stores, clock, eraser):
    """The job of the loop that carries erasures out."""
    return Errands(stores.control, clock, {KIND: eraser.carry_out}, lease=KIND, holder="loop")


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
    audit, asked = stores.control.conclusions("audit")
    assert isinstance(audit, Audit) and asked.action == "user.erase.asked" and stores.control.outbox() == []
    assert (audit.actor, audit.action, audit.subject) == ("ada", "user.erase", subject_of("gone-shopper", SECRET))
    assert audit.subject != subject_of("gone-shopper", b"guessed") and asked.subject == audit.subject
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
    told = []
    eraser = Eraser(stores, clock, ids, holder="loop", also=told.append)
    actor = errands(stores, clock, eraser)
    assert actor.run_once().failed == 0 and told == ["gone-shopper"] and stores.control.outbox() == []
    assert stores.lake.scan("feedback").num_rows == 3
    assert {a.action for a in stores.control.conclusions("audit")} == {"user.erase.asked", "user.erase"}
    stores.control.close()
    assert not [path for path in directory.rglob("control*") if b"gone-shopper" in path.read_bytes()]


@pytest.mark.parametrize("missing", ["actor", "reason"])
def test_it_needs_a_name_and_a_reason(shop, missing):
    with pytest.raises(DataError, match=missing):
        do(shop, **{missing: " "})


@pytest.mark.parametrize("lease", ["seal", "attribute", "mature", "quarantine", "act"])
def test_whoever_carries_rows_about_is_waited_for(shop, lease):
    stores, clock, ids, _ = shop
    fill(stores, clock, ids).stop()
    stores.control.acquire(lease, "somebody", 30, clock.now())
    assert not do(shop).done
    assert stores.lake.scan("feedback").num_rows == 6
    clock.advance(seconds=31)
    actor = errands(stores, clock, Eraser(stores, clock, ids))
    assert actor.run_once() == Acted(done=1)
    assert stores.lake.scan("feedback").num_rows == 3


def test_the_outbox_is_waited_for_even_where_one_process_holds_all(shop):
    stores, clock, ids, _ = shop
    fill(stores, clock, ids).stop()
    eraser, during = Eraser(stores, clock, ids, secret=SECRET, holder="loop"), []

    def give_back(payload):
        during.append(eraser.erase("gone-shopper", actor="ada", reason="asked").done)

    audit = Audit(event_id=ids.new(), time=NOW, actor="ada", action="a", subject="s", reason="r")
    stores.control.conclude(audit, outbox=[OutboxRow("r1", "replay", {}, NOW)])
    assert Errands(stores.control, clock, {"replay": give_back}, lease="act", holder="loop").run_once().done == 1
    assert during == [False] and stores.lake.scan("feedback").num_rows == 6
    assert errands(stores, clock, eraser).run_once().done == 1
    free = [stores.control.acquire(name, "anybody", 1.0, clock.now()) for name in (*LEASES, *RETURNING)]
    assert None not in free and stores.lake.scan("feedback").num_rows == 3


class Crash(Exception):
    pass


class Failing:
    """A store that dies at one verb, before or after it was done."""

    def __init__(self, store, verb, after):
        self._store, self._verb, self._after = store, verb, after

    def __getattr__(self, name):
        found = getattr(self._store, name)
        if name != self._verb:
            return found

        def call(*args, **kwargs):
            if self._after:
                found(*args, **kwargs)
            raise Crash

        return call


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("store", "verb"), [("log", "erase"), ("lake", "erase"), ("control", "erase"),
                                             ("control", "outbox_done")])
def test_a_crash_at_any_step_leaves_it_asked_for_and_is_made_good(shop, store, verb, after):
    stores, clock, ids, directory = shop
    fill(stores, clock, ids).stop()
    dying = msgspec.structs.replace(stores, **{store: Failing(getattr(stores, store), verb, after)})
    with pytest.raises(Crash):
        Eraser(dying, clock, ids, secret=SECRET).erase("gone-shopper", actor="ada", reason="asked")
    clock.advance(seconds=301)  # the leases of the dead
    actor = errands(stores, clock, Eraser(stores, clock, ids))
    assert actor.run_once().failed == 0 and stores.control.outbox() == []
    assert stores.lake.scan("feedback")["user_id"].to_pylist() == ["kept-shopper"] * 3
    assert [row.unit for row in stores.control.matured("e1")] == ["kept-shopper"]
    assert sorted(audit.action for audit in stores.control.conclusions("audit")) == ["user.erase", "user.erase.asked"]
    stores.log.close()
    stores.control.close()
    assert [path for path in directory.rglob("*") if path.is_file() and b"gone-shopper" in path.read_bytes()] == []


def test_two_who_ask_for_the_same_are_served_at_once(shop):
    stores, clock, ids, _ = shop
    fill(stores, clock, ids)
    do(shop)
    do(shop)
    assert len(stores.control.outbox()) == 2
    clock.advance(seconds=31)
    assert do(shop).done and stores.control.outbox() == []


@pytest.fixture
def files(tmp_path):
    clock = ManualClock(NOW)
    stores = registry.load("stores", "embedded")(
        configs.parse({"stores": {"directory": str(tmp_path / "data")}}), clock, role="loop")
    yield stores, clock, EventIds(clock, random=random.Random(1).randbytes), tmp_path / "data"
    stores.log.close()
    stores.control.close()


def holding(directory, name=b"gone-shopper"):
    return sorted(path.name for path in directory.rglob("*") if path.is_file() and name in path.read_bytes())


def test_files_set_aside_as_damaged_go_whole(files, caplog):
    *_, directory = files
    aside = directory / "inbox" / "damaged"
    aside.mkdir()
    for name in ("w1-2026.sqlite", "w1-2026.sqlite-wal", "w1-2026.sqlite-wal.bent"):
        (aside / name).write_bytes(b"... gone-shopper ...")
    do(files)
    assert list(aside.iterdir()) == [] and "w1-2026.sqlite-wal.bent" in caplog.text


def test_what_a_crash_left_of_a_release_goes_too(files):
    stores, _, ids, directory = files
    for user in ("gone-shopper", "kept-shopper"):
        stores.log.append([feedback(ids, user)]).result()
    segment = stores.log.drain(1)
    with sqlite3.connect(directory / "inbox" / f"{segment.writer}.sqlite") as db:  # released, and not yet deleted
        db.execute("UPDATE position SET frame = end_frame + 1, skip = 0, end_frame = NULL, end_take = NULL")
    db.close()
    assert holding(directory) != []
    do(files)
    assert holding(directory) == [] and stores.log.drain().records[0].data.find(b"kept-shopper") > 0


def test_what_was_released_properly_leaves_no_bytes_either(files):
    stores, _, ids, directory = files
    for user in ("kept-shopper", "gone-shopper", "kept-shopper"):
        stores.log.append([feedback(ids, user)]).result()
    for _ in range(2):
        stores.log.release(stores.log.drain(1))
    do(files)
    assert holding(directory) == []


def test_an_inbox_that_somebody_reads_is_told_not_done_and_asked_for_again(files, monkeypatch):
    stores, _, ids, directory = files
    stores.log.append([feedback(ids, "gone-shopper")]).result()
    path = directory / "inbox" / f"{stores.log.writer}.sqlite"
    monkeypatch.setattr(inbox_file, "BUSY_S", 0.2)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM frames").fetchone()
    with pytest.raises(StoreError, match="still holds what was erased"):
        stores.log.erase(["gone-shopper"])
    assert holding(directory) != []
    with pytest.raises(StoreError):
        do(files)
    assert len(stores.control.outbox()) == 1
    reader.close()
    assert do(files).done and stores.control.outbox() == []
    stores.control.close()
    assert holding(directory) == []


def test_control_that_somebody_reads_is_told_not_done(tmp_path, monkeypatch):
    monkeypatch.setattr(control_engine, "BUSY_S", 0.2)
    control = SqlControl.in_directory(tmp_path)
    control.exclude("gone-shopper", "i1", NOW)
    reader = sqlite3.connect(tmp_path / "control.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM exclusions").fetchone()
    ids = EventIds(ManualClock(NOW))
    audit = Audit(event_id=ids.new(), time=NOW, actor="ada", action="user.erase", subject="user:x", reason="asked")
    with pytest.raises(StoreError, match="still holds what was erased"):
        control.erase(["gone-shopper"], audit)
    reader.close()
    assert control.erase(["gone-shopper"], audit)["exclusions"] == 0
    assert holding(tmp_path) == []
    control.close()
