"""The laws of Control for what is measured and served: states, cursors, plans, leases, exclusions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec

from incumbent.events.plan import ServingPlan
from incumbent.events.schema import Audit
from incumbent.events.window import Window
from incumbent.stores.store import StateRow
from incumbent.testing.checks.bench import START, Bench
from incumbent.testing.checks.suite import Suite

DAY = START.date()
NEXT = DAY + timedelta(days=1)


def at(seconds: float) -> datetime:
    """A moment after the start."""
    return START + timedelta(seconds=seconds)


def state(key: str, data: bytes = b"\0\xff", day: datetime = START, bucket: int = 1) -> StateRow:
    """A made-up state."""
    return StateRow(key, day.date(), bucket, "moments", "c0ffee", data)


def plan(*delisted: str) -> ServingPlan:
    """A plan that differs by what is delisted."""
    return ServingPlan(version=0, time=START, surfaces={}, models={}, delisted=list(delisted))


def shards_are_replaced_whole(b: Bench) -> None:
    """Putting a shard replaces all of it, and nothing of another family, day or bucket."""
    control = b.control
    control.put(DAY, 1, "latency", [state("a"), state("b")])
    control.put(DAY, 2, "latency", [state("a", bucket=2)])
    control.put(NEXT, 1, "latency", [state("a", day=at(86_400))])
    control.put(DAY, 1, "revenue", [state("z")])
    control.put(DAY, 1, "latency", [state("b", b"new"), state("c")])
    rows = control.range("")
    assert [(row.key, row.day, row.bucket) for row in rows] == [
        ("a", DAY, 2), ("a", NEXT, 1), ("b", DAY, 1), ("c", DAY, 1), ("z", DAY, 1)]
    assert rows[2] == state("b", b"new")
    control.put(DAY, 1, "latency", [])
    assert [row.key for row in control.range("")] == ["a", "a", "z"]


def ranges_are_prefixes(b: Bench) -> None:
    """A range is by the text of the key, with no wildcard, and by the days that the window touches."""
    keys = ["a", "a%", "a/b", "a/é", "a/\U0001f600", "a_", "A", "b", "ab"]
    b.control.put(DAY, 1, "f", [state(key) for key in keys])
    b.control.put(NEXT, 1, "f", [state("a/b", day=at(86_400))])
    assert [row.key for row in b.control.range("a/")] == ["a/b", "a/b", "a/é", "a/\U0001f600"]
    assert [row.key for row in b.control.range("a_")] == ["a_"]
    assert [row.key for row in b.control.range("a%")] == ["a%"]
    assert len(b.control.range("")) == 10
    assert [row.day for row in b.control.range("a/b", Window(at(0), at(1)))] == [DAY]
    assert [row.day for row in b.control.range("a/b", Window.of_days(DAY, NEXT))] == [DAY, NEXT]
    midnight = datetime.combine(NEXT, datetime.min.time(), UTC)
    assert [row.day for row in b.control.range("a/b", Window(at(0), midnight))] == [DAY], "the end is not inside"
    assert b.control.range("a/b", Window(at(0), at(0))) in ([], [state("a/b")])
    assert b.control.range("nothing") == []


def cursors_move_with_states(b: Bench) -> None:
    """A cursor moves in the transaction of the states that stand on it; one never set is None."""
    assert b.control.cursor("attribute") is None
    b.control.put(DAY, 1, "f", [state("a")], ("attribute", "12"))
    b.control.set_cursor("rollup", "3")
    b.control.set_cursor("rollup", "4")
    assert (b.control.cursor("attribute"), b.control.cursor("rollup")) == ("12", "4")


def cursors_are_found_by_prefix(b: Bench) -> None:
    """All cursors under a prefix come back by name, whatever letters follow it, and no others."""
    for name in ("seal/b", "seal/", "seal/é", "seal", "sealed", "sea/l"):
        b.control.set_cursor(name, name.upper())
    assert b.control.cursors("seal/") == {name: name.upper() for name in ("seal/", "seal/b", "seal/é")}
    assert b.control.cursors("nobody") == {}


def a_failed_put_changes_nothing(b: Bench) -> None:
    """A put that cannot be kept whole leaves the shard and the cursor as they were."""
    b.control.put(DAY, 1, "f", [state("a")], ("c", "1"))
    try:
        b.control.put(DAY, 1, "f", [state("b"), state("b")], ("c", "2"))
    except Exception:
        pass
    else:
        raise AssertionError("a shard takes one key twice")
    assert [row.key for row in b.control.range("")] == ["a"] and b.control.cursor("c") == "1"


def plans_are_numbered(b: Bench) -> None:
    """Each published plan gets the next version, an equal one none; the history is kept, by hash."""
    control = b.control
    assert control.plan() is None and control.plan_version() == 0
    first = control.publish(plan())
    assert (first.version, control.plan_version()) == (1, 1)
    assert control.publish(msgspec.structs.replace(plan(), version=9, time=at(5))) == first
    second = control.publish(plan("i1"))
    third = control.publish(plan())
    assert (second.version, third.version, control.plan_version()) == (2, 3, 3)
    assert control.plan() == third and control.plan(second.hash) == second and control.plan(first.hash) == third
    assert control.plan("0" * 16) is None
    assert control.plan_history(2) == [second, third] and control.plan_history(9) == [first, second, third]


def one_holds_a_lease(b: Bench) -> None:
    """A lease is one holder's until it ends or is given back; tokens grow with each holder."""
    control = b.control
    first = control.acquire("seal", "a", 10.0, at(0))
    assert first is not None and (first.holder, first.until) == ("a", at(10))
    assert control.acquire("seal", "b", 10.0, at(9)) is None
    renewed = control.acquire("seal", "a", 10.0, at(9))
    assert renewed is not None and (renewed.token, renewed.until) == (first.token, at(19))
    second = control.acquire("seal", "b", 10.0, at(19))
    assert second is not None and second.token > first.token
    control.give_back(renewed)
    assert control.acquire("seal", "c", 10.0, at(20)) is None, "who has lost a lease gives back another's"
    control.give_back(second)
    third = control.acquire("seal", "a", 10.0, at(20))
    assert third is not None and third.token > second.token
    assert control.acquire("rollup", "b", 10.0, at(20)) is not None, "leases of other names are free"


def a_race_has_one_winner(b: Bench) -> None:
    """Of eight who want a lease at once exactly one gets it, each time that it is free."""
    tokens, control = [], b.control
    with ThreadPoolExecutor(8) as pool:
        for turn in range(5):
            now = at(turn * 10)
            won = [lease for lease in pool.map(lambda i, now=now: control.acquire("seal", f"h{i}", 10.0, now),
                                               range(8)) if lease is not None]
            assert len(won) == 1, f"{len(won)} winners"
            tokens.append(won[0].token)
    assert tokens == sorted(set(tokens))


def exclusions_are_told_by_version(b: Bench) -> None:
    """A reader hears of users that changed since its version, and then of all that they exclude now."""
    control = b.control
    assert control.exclusions() == (0, {})
    control.exclude("u1", "i1", at(0))
    control.exclude("u1", "i2", at(1))
    control.exclude("u2", "i1", at(2))
    version, known = control.exclusions()
    assert known == {"u1": frozenset({"i1", "i2"}), "u2": frozenset({"i1"})}
    assert control.exclusions(version) == (version, {})
    control.exclude("u2", "i1", at(3), excluded=False)
    control.exclude("u1", "i2", at(3))
    newer, changed = control.exclusions(version)
    assert newer > version and changed == {"u1": frozenset({"i1", "i2"}), "u2": frozenset()}
    control.exclude("u1", "shoes", at(4), kind="category")
    assert control.excluded_spans() == {"u1": {"i1": ((at(0), None),), "i2": ((at(1), None),)},
                                        "u2": {"i1": ((at(2), at(3)),)}}, "what was taken back held until then"
    assert control.excluded_spans("category") == {"u1": {"shoes": ((at(4), None),)}}
    assert control.excluded_spans("event") == {}


def what_was_excluded_is_known_for_every_time(b: Bench) -> None:
    """Excluded, taken back and excluded again are two spans; a late one finds its place."""
    control = b.control
    for hour, excluded in ((1, True), (3, False), (5, True)):
        control.exclude("u1", "i1", at(hour), excluded=excluded)
    assert control.excluded_spans() == {"u1": {"i1": ((at(1), at(3)), (at(5), None))}}
    version, stands = control.exclusions()
    control.exclude("u1", "i1", at(2), excluded=False, late=True)
    control.exclude("u1", "i1", at(4), late=True)
    assert control.excluded_spans() == {"u1": {"i1": ((at(1), at(2)), (at(4), None))}}
    assert control.exclusions() == (version, stands), "of what stands nothing is new"
    control.exclude("u1", "i1", at(3), excluded=False)  # by a clock that is behind: the word of whoever spoke last
    assert control.exclusions()[1] == {"u1": frozenset()}
    assert control.excluded_spans() == {"u1": {"i1": ((at(1), at(2)),)}}
    control.exclude("u2", "i1", at(1), excluded=False)
    assert "u2" not in control.excluded_spans(), "nothing was ever excluded"


def a_late_exclusion_undoes_nothing_newer(b: Bench) -> None:
    """What stands of the time of a late one, or newer, stays; what is older, or not there, is replaced."""
    control = b.control
    control.exclude("u1", "i1", at(5), excluded=False)
    version, _ = control.exclusions()
    control.exclude("u1", "i1", at(4), late=True)
    control.exclude("u1", "i1", at(5), late=True)
    assert control.exclusions(version) == (version, {}), "nothing changed"
    control.exclude("u1", "i2", at(4), late=True)
    control.exclude("u1", "i1", at(6), late=True)
    control.exclude("u1", "i1", at(4), kind="category", late=True)
    assert control.exclusions()[1] == {"u1": frozenset({"i1", "i2"})}
    assert control.exclusions(kind="category")[1] == {"u1": frozenset({"i1"})}
    control.exclude("u1", "i1", at(1), excluded=False)
    assert control.exclusions()[1] == {"u1": frozenset({"i2"})}, "who is not late has the last word"


def kinds_of_exclusions_stand_apart(b: Bench) -> None:
    """Items, categories and past interactions of one name are three things, under one version, erased together."""
    control = b.control
    for kind in ("item", "category", "event"):
        control.exclude("u1", "x", at(0), kind=kind)
    control.exclude("u1", "y", at(1), kind="category")
    version, categories = control.exclusions(kind="category")
    assert categories == {"u1": frozenset({"x", "y"})} and control.exclusions()[1] == {"u1": frozenset({"x"})}
    control.exclude("u1", "x", at(2), excluded=False, kind="category")
    newer, changed = control.exclusions(version, kind="category")
    assert newer > version and changed == {"u1": frozenset({"y"})}
    assert control.exclusions(version, kind="event")[1] in ({}, {"u1": frozenset({"x"})})
    assert control.exclusions(kind="event")[1] == {"u1": frozenset({"x"})}
    audit = Audit(event_id=b.ids.new(), time=at(3), actor="a", action="user.erase", subject="user:x", reason="asked")
    assert control.erase(["u1"], audit)["exclusions"] == 4
    assert all(control.exclusions(kind=kind)[1] == {} for kind in ("item", "category", "event"))


def the_forgotten_are_told_without_their_names(b: Bench) -> None:
    """An erasure that takes exclusions moves their version, and `forgotten` says that a reader must start over."""
    control = b.control
    control.exclude("u1", "i1", at(0))
    control.exclude("u2", "i1", at(1))
    seen, _ = control.exclusions()
    audit = Audit(event_id=b.ids.new(), time=at(2), actor="a", action="user.erase", subject="user:x", reason="asked")
    assert control.forgotten() == 0
    assert control.erase(["u1"], audit)["exclusions"] == 1
    version, changed = control.exclusions(seen)
    assert version > seen and changed == {} and seen < control.forgotten() <= version
    assert control.exclusions(0) == (version, {"u2": frozenset({"i1"})})
    control.exclude("u2", "i2", at(3))
    assert control.forgotten() <= version, "nobody was forgotten since"


LAWS = (shards_are_replaced_whole, ranges_are_prefixes, cursors_move_with_states, cursors_are_found_by_prefix,
        a_failed_put_changes_nothing, plans_are_numbered, one_holds_a_lease, a_race_has_one_winner,
        exclusions_are_told_by_version, a_late_exclusion_undoes_nothing_newer,
        what_was_excluded_is_known_for_every_time, kinds_of_exclusions_stand_apart,
        the_forgotten_are_told_without_their_names)


def add_to(suite: Suite) -> None:
    """Register the laws."""
    for law in LAWS:
        suite.law()(law)
