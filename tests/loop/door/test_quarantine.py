"""Quarantine and back: what is chosen, mended, judged again, counted once, marked and audited."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow.compute as pc
import pytest

from incumbent import config as configs
from incumbent.clock import ManualClock
from incumbent.errors import ConflictError, DataError, NotFoundError
from incumbent.events.ids import EventIds, Signer, hash_user, id_time
from incumbent.loop.act import Actor, Errands
from incumbent.loop.door.mend import Door, fix_of, id_after
from incumbent.loop.door.quarantine import KIND, Replayer, forget, listed, marked, returner, shown
from incumbent.loop.door.refused import Selection, selected, whole
from incumbent.loop.erase import Eraser
from incumbent.loop.ingest import Ingest
from incumbent.loop.plan import build_plan
from incumbent.loop.seal import Sealer
from incumbent.stores.memory import open_stores
from incumbent.stores.store import Record

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SIGNER = Signer(b"secret")
CONFIG = configs.parse({"models": {"a": {"target": "m:a"}}, "surfaces": {"home": {"champion": "a"}}})
CURRENCY = fix_of('[{"op": "add", "path": "/currency", "value": "EUR"}]')


class Shop:
    def __init__(self, secret=None):
        self.clock = ManualClock(NOW)
        self.stores = open_stores(CONFIG, self.clock)
        self.ids = EventIds(self.clock, random=random.Random(3).randbytes)
        self.ingest = Ingest(self.stores.log, clock=self.clock, ids=self.ids, signer=SIGNER, limits=CONFIG.limits,
                             user_secret=secret)
        self.sealer = Sealer(self.stores.log, self.stores.lake, self.stores.control, self.clock, holder="loop")
        self.actor = Actor(self.stores.control, self.stores.log, self.clock, lambda: build_plan(CONFIG),
                           more={KIND: returner(self.stores.log, self.stores.lake, self.stores.control)})
        self.replayer = Replayer(self.stores.lake, self.stores.control, self.clock, self.ids,
                                 Door(CONFIG.limits, SIGNER, user_secret=secret))

    def send(self, *events):
        receipt = asyncio.run(self.ingest.take([e if isinstance(e, bytes) else json.dumps(e).encode()
                                                for e in events]))
        self.sealer.run_once()
        return receipt

    def purchase(self, **changes):
        base = {"type": "feedback", "event_id": self.ids.new(), "time": NOW.isoformat(), "user_id": "u1",
                "item_id": "i1", "action": "purchase", "value_minor": 500}
        return {key: value for key, value in {**base, **changes}.items() if value is not ...}

    def replay(self, chosen=None, fix=None, **how):
        done = self.replayer.replay(chosen or Selection(), actor="ada", reason="the shop sent no currency", fix=fix,
                                    **how)
        self.actor.run_once()
        self.sealer.run_once()
        return done

    def kept(self):
        return self.stores.lake.scan("feedback").sort_by("event_id").to_pylist()

    def listed(self, everything=False, **chosen):
        return listed(self.stores.lake, self.stores.control, self.clock.now(), Selection(**chosen),
                      everything=everything)


def test_what_was_refused_comes_back_mended_once_and_is_marked():
    shop = Shop()
    good, bad = shop.purchase(currency="EUR"), shop.purchase()
    receipt = shop.send(good, bad, b"{")
    assert (receipt.accepted, receipt.rejected) == (1, 2)
    found = shop.listed()
    assert found["total"] == 2 and {row["index"] for row in found["rows"]} == {1, 2}
    assert {(group["kind"], group["field"]) for group in found["groups"]} == {("currency", "value_minor"),
                                                                             ("schema", None)}
    done = shop.replay(Selection(kind="currency"), CURRENCY)
    assert (done.selected, done.returned, done.refused) == (1, 1, 0)
    assert [row["event_id"] for row in shop.kept()] == sorted([good["event_id"], bad["event_id"]])
    again = shop.replay(Selection(kind="currency"), CURRENCY)
    assert (again.selected, again.returned, again.before, again.audit) == (0, 0, 1, None)
    assert len(shop.kept()) == 2 and shop.listed()["total"] == 1 and shop.listed(everything=True)["total"] == 2
    [audit] = shop.stores.control.conclusions("audit")
    assert (audit.action, audit.actor, audit.reason) == ("quarantine.replay", "ada", "the shop sent no currency")
    assert audit.details["returned"] == 1 and audit.details["chosen"]["kind"] == "currency"
    assert shop.listed(everything=True, kind="currency")["rows"][0]["returned"] == audit.event_id


def test_a_dry_run_says_the_same_and_changes_nothing():
    shop = Shop()
    shop.send(shop.purchase(), shop.purchase(action="buy"))
    dry = shop.replay(fix=CURRENCY, dry_run=True)
    assert (dry.selected, dry.returned, dry.refused, dry.audit) == (2, 1, 1, None)
    assert shop.kept() == [] and marked(shop.stores.control) == {} and not shop.stores.control.conclusions("audit")
    assert not shop.stores.control.outbox()
    wet = shop.replay(fix=CURRENCY)
    assert (wet.returned, wet.refused, wet.refusals) == (1, 1, dry.refusals)
    assert "action" in wet.refusals[0]["field"]


def test_what_still_fails_stays_and_says_why():
    shop = Shop()
    shop.send(shop.purchase())
    done = shop.replay()
    assert done.refused == 1 and "money without a currency" in done.refusals[0]["reason"]
    assert shop.listed()["total"] == 1 and shop.kept() == []


def test_a_message_without_an_id_gets_that_of_quarantine_and_so_counts_once():
    shop = Shop()
    shop.send(shop.purchase(event_id=...), shop.purchase(event_id="nonsense", currency="EUR"))
    ids = [row["event_id"] for row in shop.listed()["rows"]]
    assert shop.replay(fix=CURRENCY).returned == 2
    assert {row["event_id"] for row in shop.kept()} == {id_after(id) for id in ids}
    assert [id_time(id_after(id)) for id in ids] == [id_time(id) for id in ids]


def test_outbox_rows_that_are_worked_off_twice_count_once():
    shop = Shop()
    shop.send(shop.purchase())
    shop.replayer.replay(Selection(), actor="ada", reason="r", fix=CURRENCY)
    [row] = [row for row in shop.stores.control.outbox() if row.kind == KIND]
    for _ in range(3):
        returner(shop.stores.log, shop.stores.lake, shop.stores.control)(row.payload)
        shop.sealer.run_once()
    assert len(shop.kept()) == 1


def test_the_age_counts_from_the_first_arrival():
    shop = Shop()
    shop.send(shop.purchase())
    shop.clock.set(NOW + timedelta(days=CONFIG.limits.event_age_days + 5))
    assert shop.replay(fix=CURRENCY).returned == 1
    shop.send(shop.purchase(time="2025-01-01T00:00:00Z", currency="EUR"))
    assert "too old" in shop.replay().refusals[0]["reason"]


def test_what_came_from_the_future_is_judged_by_the_time_of_today():
    shop = Shop()
    shop.send(shop.purchase(time=(NOW + timedelta(days=1)).isoformat(), currency="EUR"))
    assert shop.replay().refused == 1
    shop.clock.set(NOW + timedelta(days=2))
    assert shop.replay().returned == 1


def test_choices_are_all_of_them():
    shop = Shop()
    shop.send(shop.purchase(), shop.purchase(value_minor=-1, currency="EUR"))
    shop.clock.advance(3600)
    shop.send(shop.purchase())
    assert shop.listed(reason="MONEY WITHOUT")["total"] == 2
    assert shop.listed(kind="schema", field="value_minor")["total"] == 1
    assert shop.listed(since=NOW + timedelta(minutes=30))["total"] == 1
    assert shop.listed(until=NOW + timedelta(minutes=30))["total"] == 2
    assert shop.listed(source="sealer")["total"] == 0
    newest = shop.listed()["rows"][0]["event_id"]
    assert shop.replay(Selection(ids=[newest]), CURRENCY).selected == 1
    both = [row["event_id"] for row in shop.listed(everything=True)["rows"]][:2]
    assert shop.listed(everything=True, ids=both)["total"] == 2


class Counting:
    """A lake that notes how many messages each of its answers holds."""

    def __init__(self, lake):
        self._lake, self.messages = lake, []

    def scan(self, *arguments, **options):
        found = self._lake.scan(*arguments, **options)
        self.messages.append(found.num_rows if "raw" in found.column_names else 0)
        return found

    def __getattr__(self, name):
        return getattr(self._lake, name)


def test_a_list_reads_the_messages_that_it_shows_and_no_others():
    shop = Shop()
    for _ in range(6):
        shop.send(shop.purchase(), shop.purchase(action="buy"))
        shop.clock.advance(3600)
    lake = Counting(shop.stores.lake)
    found = listed(lake, shop.stores.control, shop.clock.now(), Selection(limit=2))
    assert (found["total"], len(found["rows"]), max(lake.messages)) == (12, 2, 2)
    last = shop.clock.now() - timedelta(hours=1)
    assert [(one["kind"], one["field"], one["count"], one["first"], one["last"]) for one in sorted(
        found["groups"], key=lambda one: one["kind"])] == [
        ("currency", "value_minor", 6, NOW.isoformat(), last.isoformat()),
        ("schema", "action", 6, NOW.isoformat(), last.isoformat())]
    lake.messages.clear()
    shown(lake, shop.stores.control, found["rows"][0]["event_id"])
    assert max(lake.messages) <= 2


def test_a_page_holds_no_more_than_it_may_and_keeps_the_order():
    shop = Shop()
    for _ in range(5):
        shop.send(shop.purchase(), shop.purchase())
        shop.clock.advance(10 * 3600)
    lake, rows = Counting(shop.stores.lake), selected(shop.stores.lake, Selection(), shop.clock.now())
    found = list(whole(lake, rows, size=3))
    assert [row.event_id for row in found] == rows["event_id"].to_pylist() and all(row.raw for row in found)
    assert [row.time for row in found] == sorted((row.time for row in found), reverse=True)
    assert sum(lake.messages) >= 10 and max(lake.messages) <= 4  # a page, and who arrived with its last


def test_what_has_no_kind_is_grouped_by_its_first_sentence():
    shop = Shop()
    for schema in (98, 99, 99):
        sealed_badly(shop, {**shop.purchase(currency="EUR"), "schema": schema})
    [group] = shop.listed(source="sealer")["groups"]
    newest = shop.listed(source="sealer")["rows"][0]["reason"]
    assert (group["kind"], group["count"], group["example"]) == (newest.partition(". ")[0][:80], 3, newest)


def test_what_cannot_be_mended_stands_in_the_way_of_nothing_older():
    shop = Shop()
    shop.send(*(shop.purchase() for _ in range(3)))
    shop.clock.advance(3600)
    shop.send(*(shop.purchase(action="buy") for _ in range(4)))
    done = shop.replay(Selection(limit=2), CURRENCY)
    assert (done.selected, done.returned, done.refused) == (6, 2, 4)
    assert (shop.replay(Selection(limit=2), CURRENCY).returned, len(shop.kept())) == (1, 3)


def test_one_message_is_shown_as_it_came():
    shop = Shop()
    sent = shop.purchase()
    shop.send(sent)
    row = shop.listed()["rows"][0]
    found = shown(shop.stores.lake, shop.stores.control, row["event_id"])
    assert json.loads(found["raw"]) == sent == found["message"] and found["user_id"] == "u1"
    with pytest.raises(NotFoundError):
        shown(shop.stores.lake, shop.stores.control, shop.ids.new())
    with pytest.raises(DataError):
        shown(shop.stores.lake, shop.stores.control, "nonsense")


def test_a_function_mends_what_does_not_parse_and_may_leave_it(tmp_path):
    (tmp_path / "my_fixes.py").write_text(
        "import json\n"
        "def mend(message):\n"
        "    if isinstance(message, bytes):\n"
        "        return json.loads(message + b'}')\n"
        "    return None\n"
        "def broken(message):\n"
        "    return message['nowhere']\n")
    shop = Shop()
    whole = json.dumps(shop.purchase(currency="EUR")).encode()
    shop.send(whole[:-1], shop.purchase())
    failed = shop.replay(fix=fix_of("my_fixes:broken", tmp_path))
    assert failed.refused == 2 and all("the fix failed" in one["reason"] for one in failed.refusals)
    done = shop.replay(fix=fix_of("my_fixes:mend", tmp_path))
    assert (done.returned, done.refused) == (1, 1) and "left it" in done.refusals[0]["reason"]
    assert len(shop.kept()) == 1


def test_hashed_users_stay_hashed_and_are_hashed_once():
    secret = b"0123456789abcdef"
    shop = Shop(secret)
    shop.send(shop.purchase(), shop.purchase(user_id="u2"), b'{"no user')
    fix = fix_of('[{"op": "add", "path": "/currency", "value": "EUR"}]')
    done = shop.replay(fix=fix)
    assert (done.returned, done.refused) == (2, 1) and "was not kept" in done.refusals[0]["reason"]
    assert {row["user_id"] for row in shop.kept()} == {hash_user("u1", secret), hash_user("u2", secret)}
    shop = Shop(secret)
    shop.send(shop.purchase())
    shop.replay(fix=fix_of('[{"op": "add", "path": "/currency", "value": "EUR"}, '
                           '{"op": "replace", "path": "/user_id", "value": "u9"}]'))
    assert [row["user_id"] for row in shop.kept()] == [hash_user("u9", secret)]


def test_an_exclusion_that_comes_back_holds():
    shop = Shop()
    shop.send(shop.purchase(action="exclude", value_minor=...), shop.purchase(action="exclude", item_id="i7"))
    shop.replay(fix=CURRENCY)
    assert shop.stores.control.exclusions()[1]["u1"] >= {"i7"}


def test_an_exclusion_comes_back_through_the_outbox_and_undoes_nothing_newer():
    shop = Shop()
    shop.send(shop.purchase(action="exclude"), shop.purchase(action="exclude", item_id="i7"),
              shop.purchase(action="exclude", item_id="i8", time=(NOW - timedelta(days=1)).isoformat()))
    control = shop.stores.control
    control.exclude("u1", "i7", NOW + timedelta(hours=1), excluded=False)
    control.exclude("u1", "i8", NOW - timedelta(days=2), excluded=False)
    shop.replayer.replay(Selection(), actor="ada", reason="r", fix=CURRENCY)
    assert control.exclusions()[1].get("u1", frozenset()) == frozenset(), "a crash here loses none: the rows stand"
    shop.actor.run_once()
    assert control.exclusions()[1]["u1"] == {"i1", "i8"}
    control.exclude("u1", "i1", NOW + timedelta(hours=2), excluded=False)
    shop.replay(fix=CURRENCY)
    assert control.exclusions()[1]["u1"] == {"i8"}


def test_what_the_sealer_refused_comes_back_too():
    shop = Shop()
    event = {**shop.purchase(currency="EUR"), "schema": 99}
    shop.stores.log.append([Record(event["event_id"], "feedback", msgspec.msgpack.encode(event))]).result()
    shop.sealer.run_once()
    assert shop.listed(source="sealer")["total"] == 1
    assert shop.replay().refused == 1
    assert shop.replay(fix=fix_of('[{"op": "replace", "path": "/schema", "value": 1}]')).returned == 1
    assert [row["event_id"] for row in shop.kept()] == [event["event_id"]]


def sealed_badly(shop, event):
    """An acknowledged record that the sealer cannot read."""
    shop.stores.log.append([Record(event["event_id"], "feedback", msgspec.msgpack.encode(event))]).result()
    shop.sealer.run_once()


@pytest.mark.parametrize(("field", "value"), [("user_id", "u9"), ("event_id", "019cd79e-4600-7004-94ad-7958cd9069b9")])
def test_what_was_acknowledged_stays_whose_and_which_it_was(shop_with_sealed, field, value):
    shop, _ = shop_with_sealed
    fixes = [{"op": "replace", "path": "/schema", "value": 1}, {"op": "replace", "path": f"/{field}", "value": value}]
    [refusal] = shop.replay(fix=fix_of(fixes)).refusals
    assert refusal["field"] == field and "stays what it was" in refusal["reason"]

    def in_place(message):
        message.update({"schema": 1, field: value})
        return message

    assert shop.replay(fix=in_place).refused == 1 and shop.kept() == []


@pytest.fixture
def shop_with_sealed():
    shop = Shop()
    event = {**shop.purchase(currency="EUR"), "schema": 99}
    sealed_badly(shop, event)
    return shop, event


def test_no_patch_makes_another_event_of_what_was_acknowledged(shop_with_sealed):
    shop, event = shop_with_sealed
    decision = {"type": "decision", "event_id": event["event_id"], "time": NOW.isoformat(), "experiment": "e",
                "verdict": "promote", "reason": "r", "by": "rule"}
    swap = fix_of([{"op": "replace", "path": "", "value": decision}])
    assert shop.replay(fix=swap).refusals[0]["field"] == "type"
    sealed_badly(shop, {**decision, "event_id": shop.ids.new(), "schema": 99})
    again = shop.replay(fix=fix_of([{"op": "replace", "path": "/schema", "value": 1}]))
    assert (again.returned, again.refused) == (1, 1) and "incumbent alone" in again.refusals[0]["reason"]
    assert shop.stores.lake.scan("conclusion", columns=["kind"]).filter(
        pc.field("kind") == "decision").num_rows == 0


def test_what_does_not_say_what_it_was_passes_the_screen():
    shop = Shop(b"0123456789abcdef")
    event_id = shop.ids.new()
    shop.stores.log.append([Record(event_id, "feedback", b"\xc1")]).result()
    shop.sealer.run_once()
    impression = {"type": "impression", "event_id": event_id, "request_id": "forged", "ranking_id": "r",
                  "time": NOW.isoformat(), "user_id": "u1", "surface": "home", "mode": "champion", "lane": "none",
                  "plan": "p", "slots": [], "models": []}
    forged = shop.replay(fix=fix_of([{"op": "replace", "path": "", "value": impression}]))
    assert forged.refused == 1 and "not signed" in forged.refusals[0]["reason"]
    sound = shop.purchase(currency="EUR", event_id=event_id)
    assert shop.replay(fix=fix_of([{"op": "replace", "path": "", "value": sound}])).returned == 1
    assert [row["user_id"] for row in shop.kept()] == [hash_user("u1", b"0123456789abcdef")]


def drafted(shop, user="u1", **changes):
    event_id = shop.ids.new()
    return {"type": "impression", "event_id": event_id, "request_id": SIGNER.sign(event_id), "ranking_id": "r",
            "time": NOW.isoformat(), "user_id": user, "surface": "home", "mode": "fallback", "lane": "none",
            "plan": "p", "slots": [], "models": [], **changes}


@pytest.mark.parametrize("secret", [None, b"0123456789abcdef"])
def test_an_impression_of_a_signed_batch_comes_back_once_mended(secret):
    shop = Shop(secret)
    user = "u1" if secret is None else hash_user("u1", secret)  # a client logs whom it draws coins for
    bad = drafted(shop, user, offset="none")
    data = [json.dumps(bad).encode()]
    assert asyncio.run(shop.ingest.take(data, signed=True)).rejected == 1
    shop.sealer.run_once()
    fix = fix_of([{"op": "replace", "path": "/offset", "value": 0}])
    assert shop.replay(fix=fix).returned == 1
    [row] = shop.stores.lake.scan("impression").to_pylist()
    assert (row["event_id"], row["user_id"], row["request_id"]) == (bad["event_id"], user, bad["request_id"])
    assert shop.replay(fix=fix).returned == 0


def test_no_other_impression_comes_back():
    shop = Shop()
    sound = drafted(shop)
    receipt = asyncio.run(shop.ingest.take([json.dumps(sound).encode()]))
    assert receipt.items[0].kind == "signature"
    asyncio.run(shop.ingest.take([json.dumps(shop.purchase()).encode(), b"{"], signed=True))
    shop.sealer.run_once()
    again = shop.replay(fix=fix_of([{"op": "replace", "path": "", "value": sound}]))
    assert again.returned == 0 and {"not signed" in one["reason"] for one in again.refusals} == {True}
    swap = fix_of([{"op": "replace", "path": "/event_id", "value": shop.ids.new()},
                   {"op": "replace", "path": "/offset", "value": 0}])
    asyncio.run(shop.ingest.take([json.dumps(drafted(shop, offset="none")).encode()], signed=True))
    shop.sealer.run_once()
    assert shop.replay(fix=swap).returned == 0  # its request id is not that of another event


def test_an_erasure_takes_what_is_on_its_way_back():
    shop = Shop()
    shop.send(shop.purchase(), shop.purchase(user_id="u2"))
    shop.replayer.replay(Selection(), actor="ada", reason="r", fix=CURRENCY)
    shop.sealer.stop()
    Eraser(shop.stores, shop.clock, shop.ids, secret=b"secret").erase("u1", actor="ada", reason="asked")
    shop.actor.run_once()
    shop.sealer.run_once()
    assert [row["user_id"] for row in shop.kept()] == ["u2"]
    forget(shop.stores.control, "nobody")


def lapsing(shop, fix):
    """A fix that takes so long that somebody else has the lease meanwhile."""
    def slow(message):
        shop.clock.advance(301)
        Eraser(shop.stores, shop.clock, shop.ids, secret=b"secret").erase("u1", actor="ada", reason="asked")
        return fix(message)
    return slow


def test_a_replay_that_an_erasure_overtook_sends_nothing():
    shop = Shop()
    shop.send(shop.purchase())
    shop.sealer.stop()
    with pytest.raises(ConflictError, match="lost its lease"):
        shop.replay(fix=lapsing(shop, CURRENCY))
    assert shop.stores.control.outbox() == [] and marked(shop.stores.control) == {}


def test_an_outbox_that_an_erasure_overtook_gives_nothing_back():
    shop = Shop()
    shop.send(shop.purchase(), shop.purchase(user_id="u2"))
    shop.sealer.stop()
    shop.replayer.replay(Selection(), actor="ada", reason="r", fix=CURRENCY)
    given, give_back = [], returner(shop.stores.log, shop.stores.lake, shop.stores.control)

    def slow(payload):
        given.append(payload["user_id"])
        give_back(payload)
        if len(given) == 1:
            other = {"u1": "u2", "u2": "u1"}[payload["user_id"]]
            shop.clock.advance(31)
            assert Eraser(shop.stores, shop.clock, shop.ids, secret=b"secret").erase(
                other, actor="ada", reason="asked").done
    acted = Errands(shop.stores.control, shop.clock, {KIND: slow}, lease="act", holder="loop").run_once()
    assert (acted.done, acted.stopped) == (1, "another process took the lease")
    shop.actor.run_once()
    shop.sealer.run_once()
    assert [row["user_id"] for row in shop.kept()] == given and len(given) == 1


def test_an_erasure_takes_vectors_of_a_shopper_that_are_on_their_way_back():
    shop = Shop()
    shop.send({"type": "embedding", "event_id": shop.ids.new(), "time": NOW.isoformat(), "space": "s", "version": "1",
               "entity": "user", "entity_id": "u1", "vector": []})
    shop.replayer.replay(Selection(), actor="ada", reason="r",
                         fix=fix_of([{"op": "add", "path": "/vector", "value": [1.0]}]))
    forget(shop.stores.control, "u1")
    assert [row for row in shop.stores.control.outbox() if row.kind == KIND] == []


def test_no_reason_no_replay_and_one_at_a_time():
    shop = Shop()
    with pytest.raises(DataError, match="needs a reason"):
        shop.replayer.replay(Selection(), actor="ada", reason=" ")
    assert shop.stores.control.acquire("quarantine", "somebody", 60.0, NOW) is not None
    with pytest.raises(ConflictError, match="another replay"):
        shop.replay()
