"""The laws of Control for what drift is judged against: baselines and their parts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from incumbent.errors import IncumbentError
from incumbent.stores.store import BaselinePart, BaselineRow
from incumbent.testing.checks.bench import START, Bench
from incumbent.testing.checks.suite import Suite


def baseline(name: str = "spring", **definition: str) -> BaselineRow:
    """A made-up baseline of four weeks."""
    return BaselineRow(name, 0, START, START - timedelta(days=28), START, "day", "Europe/Berlin", "c0ffee",
                       {"models": {"home": "popular"}, **definition})


def part(stream: str, name: str = "about", data: bytes = b"\0\xff") -> BaselinePart:
    """A made-up part."""
    return BaselinePart(stream, name, "json", "c0ffee", data)


def a_baseline_is_kept_with_its_parts(b: Bench) -> None:
    """What was put comes back, parts by stream and name, and other baselines keep their own."""
    made = b.control.put_baseline(baseline(), [part("b"), part("a", "frame"), part("a", "about", b"{}")])
    b.control.put_baseline(baseline("autumn"), [part("z")])
    assert made.version == 1 and b.control.baseline("spring") == made
    assert [(one.stream, one.part) for one in b.control.baseline_parts("spring", 1)] == [
        ("a", "about"), ("a", "frame"), ("b", "about")]
    assert b.control.baseline_parts("spring", 1, "a", "about") == [part("a", "about", b"{}")]
    assert [one.stream for one in b.control.baseline_parts("spring", 1, part="about")] == ["a", "b"]
    assert [(row.name, row.version) for row in b.control.baselines()] == [("autumn", 1), ("spring", 1)]
    assert b.control.baseline("winter") is None and b.control.baseline_parts("winter", 1) == []


def a_name_counts_its_versions(b: Bench) -> None:
    """A second baseline of a name is its next version, and the first stays as it was."""
    first = b.control.put_baseline(baseline(note="first"), [part("a")])
    second = b.control.put_baseline(baseline(note="second"), [])
    assert (first.version, second.version) == (1, 2)
    assert b.control.baseline("spring") == second and b.control.baseline("spring", 1) == first
    assert b.control.baseline("spring", 3) is None
    assert b.control.baseline_parts("spring", 2) == [] and len(b.control.baseline_parts("spring", 1)) == 1


def a_race_of_builders_loses_nothing(b: Bench) -> None:
    """Builders at once get a version each."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: b.control.put_baseline(baseline(note=str(n)), [part(str(n))]), range(8)))
    assert sorted(row.version for row in made) == list(range(1, 9))
    for row in made:
        assert [one.stream for one in b.control.baseline_parts("spring", row.version)] == [row.definition["note"]]


def parts_are_written_once(b: Bench) -> None:
    """A part that comes later is added, one that stands stays; a part twice is refused whole."""
    made = b.control.put_baseline(baseline(), [part("a", data=b"first")])
    b.control.add_parts("spring", made.version, [part("a", data=b"second"), part("b", data=b"new")])
    assert [(one.stream, one.data) for one in b.control.baseline_parts("spring", 1)] == [("a", b"first"), ("b", b"new")]
    try:
        b.control.put_baseline(baseline(), [part("a"), part("a")])
    except IncumbentError:
        pass
    else:
        raise AssertionError("a part twice was taken")
    assert len(b.control.baselines()) == 1


LAWS = (a_baseline_is_kept_with_its_parts, a_name_counts_its_versions, a_race_of_builders_loses_nothing,
        parts_are_written_once)


def add_to(suite: Suite) -> None:
    """Register the laws."""
    for law in LAWS:
        suite.law()(law)
