"""The contract suite of states: all built-ins hold, and each deliberately broken state breaks the law it should."""

from __future__ import annotations

import json
import pickle
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
import pytest

from incumbent.errors import NotFoundError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.counts import Counts
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed_histogram import FixedHistogram
from incumbent.stats.moments import Moments
from incumbent.testing.checks import states
from incumbent.testing.checks.suite import NotApplicable, Suite

GOLDEN = json.loads((files("incumbent.testing.checks") / "golden_states.json").read_text())


@pytest.mark.parametrize("case", states.SUITE.cases(), ids=str)
def test_contract(case):
    result = case.check()
    if result.excused:
        pytest.xfail(result.excused)
    if result.skipped:
        pytest.skip(result.skipped)


def test_every_built_in_has_golden_bytes():
    assert sorted(GOLDEN) == [
        "buckets", "composite", "counts", "delay", "distinct", "fixed_histogram", "items", "log_histogram",
        "moments", "numeric", "pairs", "reliability", "vectors"]


def broken_laws(cls: type) -> list[str]:
    return [case.law.name for case in states.SUITE.cases_of(cls.__name__, cls) if not case.run().ok]


# ------------------------------------------------------------------------------------------- states that are wrong
class SumOfSquares(ArrayState):
    """The variance from a sum of squares: right on small numbers, noise after a shift by 1e9."""

    name = "sum_of_squares"
    tags = frozenset({"subtract", "shift"})
    arrays: ClassVar = {"n": "<i8", "total": "<f8", "squares": "<f8"}
    example_configs = ({"unit": "a"}, {"unit": "b"})

    @classmethod
    def zero(cls, *, unit: str = "a", **unknown: Any) -> SumOfSquares:
        return cls({"unit": unit}, n=0, total=0.0, squares=0.0)

    @property
    def empty(self) -> bool:
        return int(self.n) == 0

    def update(self, values: Any) -> SumOfSquares:
        rows = np.asarray(values, float)
        rows = rows[np.isfinite(rows)]
        return self._with(n=self.n + len(rows), total=self.total + rows.sum(), squares=self.squares + (rows**2).sum())

    def _combine(self, other: Any, sign: int) -> Any:
        made = super()._combine(other, sign)
        if made.n < 0:
            raise StateError("no part")
        return made if made.n else self.zero(**self.config)

    def estimates(self) -> dict[str, Estimate]:
        n = int(self.n)
        if n == 0:
            return {"mean": Estimate.missing("no rows")}
        variance = (float(self.squares) - float(self.total) ** 2 / n) / max(n - 1, 1)
        return {"mean": Estimate(float(self.total) / n, se=(max(variance, 0.0) / n) ** 0.5, n=n)}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        return (rng.normal(size=rows) + 3,)

    golden: ClassVar = {}


class Sound(SumOfSquares):
    """The same without the promise of `shift`: the ground on which the others are broken in one place each."""

    name = "sound"
    tags = frozenset({"subtract"})


class ForgetsConfiguration(Sound):
    def merge(self, other: Any) -> Any:
        merged = super().merge(other)
        return type(self)({"unit": "a"}, **merged._arrays())


class EmptyReadsZero(Sound):
    def estimates(self) -> dict[str, Estimate]:
        return super().estimates() if int(self.n) else {"mean": Estimate(0.0)}


class NoIdentity(Sound):
    def merge(self, other: Any) -> Any:
        made = super().merge(other)
        return made if not self.empty or other.empty else made._with(total=made.total * 2)


class NoisyEmpty(Sound):
    def merge(self, other: Any) -> Any:
        made = super().merge(other)
        return made._with(squares=1.0) if made.empty else made


class AveragesOfAverages(Sound):
    """Merged means of two, whatever their sizes."""

    def merge(self, other: Any) -> Any:
        made = super().merge(other)
        if self.empty or other.empty:
            return made
        return made._with(total=made.n * (self.total / self.n + other.total / other.n) / 2)


class LastWins(Sound):
    """Not commutative: the second one's sum counts a little more."""

    def merge(self, other: Any) -> Any:
        made = super().merge(other)
        return made if self.empty or other.empty else made._with(total=made.total + 1e-3 * (other.total - self.total))


class NoInverse(Sound):
    def subtract(self, other: Any) -> Any:
        made = super().subtract(other)
        return made if made.empty else made._with(total=made.total * 1.001)


class MergesAnything(Sound):
    def _same(self, other: Any) -> None:
        pass


class Poisoned(Sound):
    def update(self, values: Any) -> Any:
        rows = np.nan_to_num(np.asarray(values, float), nan=0.0)
        return self._with(n=self.n + len(rows), total=self.total + rows.sum(), squares=self.squares + (rows**2).sum())


class SortsItsInput(Sound):
    def update(self, values: Any) -> Any:
        if isinstance(values, np.ndarray):
            values.sort()
        return super().update(values)


class LossyBytes(Sound):
    def to_bytes(self) -> bytes:
        return self._with(total=np.float32(self.total), squares=np.float32(self.squares))._plain()

    def _plain(self) -> bytes:
        return Sound.to_bytes(self)


class Pickled(Sound):
    """Reads whatever comes, without looking."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Any:
        try:
            return super().from_bytes(data)
        except StateError:
            return cls.zero()


class KeepsRows(Sound):
    arrays: ClassVar = {"rows": "<f8"}

    @classmethod
    def zero(cls, *, unit: str = "a", **unknown: Any) -> Any:
        return cls({"unit": unit}, rows=[])

    @property
    def empty(self) -> bool:
        return len(self.rows) == 0

    def update(self, values: Any) -> Any:
        rows = np.asarray(values, float)
        return self._with(rows=np.sort(np.concatenate([self.rows, rows[np.isfinite(rows)]])))

    def _combine(self, other: Any, sign: int) -> Any:
        if sign > 0:
            return self.update(other.rows)
        if len(other.rows) > len(self.rows):
            raise StateError("no part")
        return self._with(rows=[row for row in self.rows if row not in other.rows])

    def estimates(self) -> dict[str, Estimate]:
        if self.empty:
            return {"mean": Estimate.missing("no rows")}
        return {"mean": Estimate(float(self.rows.mean()), n=len(self.rows))}

    def _checked(self, empty) -> Any:
        return self


class SharedHash(Sound):
    @property
    def config_hash(self) -> str:
        return "0" * 16

    def _same(self, other: Any) -> None:
        if self.config != other.config:
            raise StateError("configurations differ")


class UnknownTag(Sound):
    tags = frozenset({"subtract", "fast"})


class DropsSingles(Sound):
    """A row that comes alone is lost."""

    def update(self, values: Any) -> Any:
        return self if len(values) == 1 else super().update(values)


class FloatingExact(Sound):
    """Says that it is equal to the bit, and sums floats."""

    tags = frozenset({"subtract", "exact"})


BROKEN = [
    (SumOfSquares, {"stable_under_shift"}),
    (ForgetsConfiguration, {"merge_keeps_configuration"}),
    (EmptyReadsZero, {"empty_reads_missing"}),
    (NoIdentity, {"empty_is_identity"}),
    (NoisyEmpty, {"empty_plus_empty_is_empty"}),
    (LastWins, {"merge_commutes"}),
    (AveragesOfAverages, {"merge_associates"}),
    (NoInverse, {"subtract_inverts_merge"}),
    (MergesAnything, {"different_configurations_refuse"}),
    (Poisoned, {"missing_values_are_left_out"}),
    (SortsItsInput, {"inputs_are_not_mutated"}),
    (LossyBytes, {"bytes_round_trip"}),
    (Pickled, {"bad_bytes_refuse"}),
    (KeepsRows, {"size_is_bounded"}),
    (SharedHash, {"configuration_is_plain"}),
    (UnknownTag, {"is_a_state"}),
    (DropsSingles, {"one_row_shards_equal_whole"}),
    (FloatingExact, {"exact_to_the_bit"}),
]
for _cls in (Sound, *(cls for cls, _ in BROKEN)):
    _example = _cls.zero(**_cls.example_configs[0]).update(np.array([1.0, 2.0, 4.0]))
    _cls.golden = {1: (_example.to_bytes().hex(), {"mean": 7 / 3})}


def test_the_ground_of_the_broken_ones_is_sound():
    assert broken_laws(Sound) == []


@pytest.mark.parametrize(("cls", "laws"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_state_breaks_its_law(cls, laws):
    print(cls.__name__, broken_laws(cls))
    assert laws <= set(broken_laws(cls))


def test_a_verdict_names_the_law_and_no_other():
    """Where one thing is wrong and nothing follows from it, one law is broken."""
    alone = (SumOfSquares, EmptyReadsZero, NoIdentity, NoisyEmpty, NoInverse, MergesAnything, SortsItsInput, LossyBytes,
             Pickled, KeepsRows, SharedHash, UnknownTag)
    found = {cls.__name__: broken_laws(cls) for cls in alone}
    assert found == {cls.__name__: list(dict(BROKEN)[cls]) for cls in alone}


def test_every_law_is_broken_by_somebody():
    """A law that nobody can break checks nothing."""
    broken = {law for cls, _ in BROKEN for law in broken_laws(cls)}
    assert {law.name for law in states.SUITE.laws} - broken == {"golden_bytes_are_read"}  # broken below


class TestGolden:
    def test_a_class_without_golden_bytes_is_told_what_to_add(self):
        cls = type("Fresh", (Sound,), {"golden": {}})
        (result,) = [case.run() for case in states.SUITE.cases_of("fresh", cls) if case.law.name.startswith("golden")]
        assert not result.ok and "golden = {1: ('495301" in result.message

    def test_other_bytes_of_the_same_version_break_the_law(self):
        cls = type("Renamed", (Sound,), {"arrays": {"n": "<i4", "total": "<f8", "squares": "<f8"}})
        assert broken_laws(cls) == ["golden_bytes_are_read"]

    def test_another_reading_of_old_bytes_breaks_the_law(self):
        cls = type("Shifted", (Sound,), {"golden": {1: (Sound.golden[1][0], {"mean": 2.0})}})
        assert broken_laws(cls) == ["golden_bytes_are_read"]

    def test_bytes_of_an_earlier_version_are_upgraded(self):
        class Second(Sound):
            """Version 2 renamed `sum` to `total`."""

            version = 2

            @classmethod
            def _upgrade(cls, version, config, arrays):
                if version == 1:
                    arrays["total"] = arrays.pop("sum")
                return config, arrays

        first = type("First", (Sound,), {
            "arrays": {"n": "<i8", "sum": "<f8", "squares": "<f8"},
            "zero": classmethod(lambda cls, unit="a": cls({"unit": unit}, n=0, sum=0.0, squares=0.0))})
        old = first.zero()._with(n=3, sum=7.0, squares=21.0).to_bytes()
        new = Second.zero().update(np.array([1.0, 2.0, 4.0])).to_bytes()
        Second.golden = {1: (old.hex(), {"mean": 7 / 3}), 2: (new.hex(), {"mean": 7 / 3})}
        assert broken_laws(Second) == []


# ------------------------------------------------------------------------------------------------- the framework
class TestExcuses:
    def test_an_excused_law_still_runs_and_is_expected_to_fail(self):
        cls = type("Excused", (EmptyReadsZero,), {"excuses": {"empty_reads_missing": "a count of nothing is 0"}})
        (result,) = [r for r in (c.run() for c in states.SUITE.cases_of("x", cls)) if r.excused]
        assert result.ok and result.law == "empty_reads_missing" and "mean of an empty state is 0.0" in result.message
        assert "excused" in str(result) and "a count of nothing is 0" in str(result)

    @pytest.mark.parametrize(("excuses", "law", "message"), [
        ({"merge_commutes": "not needed"}, "merge_commutes", "take the excuse away"),
        ({"merge_commutes": "  "}, "merge_commutes", "written reason"),
        ({"merge_comutes": "misspelt"}, "merge_comutes", "take the excuse away"),
    ])
    def test_a_bad_excuse_fails(self, excuses, law, message):
        cls = type("Excused", (Sound,), {"excuses": excuses})
        bad = [case.run() for case in states.SUITE.cases_of("x", cls) if not case.run().ok]
        assert [(r.law, message in r.message) for r in bad] == [(law, True)]


class TestSuite:
    def test_a_law_of_a_tag_is_asked_of_those_who_carry_it(self):
        asked = {case.law.name for case in states.SUITE.cases_of("x", Moments)}
        assert "stable_under_shift" in asked and "exact_to_the_bit" not in asked
        assert "exact_to_the_bit" in {case.law.name for case in states.SUITE.cases_of("x", Counts)}

    def test_run_takes_registered_names_and_modules(self):
        results = states.run(["counts", "incumbent.stats.fixed_histogram:FixedHistogram"])
        assert all(result.ok for result in results)
        assert {result.subject for result in results} == {"counts", "incumbent.stats.fixed_histogram:FixedHistogram"}
        assert FixedHistogram.name == "fixed_histogram"

    @pytest.mark.parametrize("name", ["no.such.module:X", "incumbent.stats.moments:Nothing", "momentz"])
    def test_an_unknown_name_is_an_error_that_helps(self, name):
        with pytest.raises(NotFoundError, match=r"Expected .*Hint"):
            states.run([name])

    def test_prepare_is_closed_after_every_law_also_when_it_fails(self):
        from contextlib import contextmanager

        log = []

        @contextmanager
        def prepare(subject):
            log.append("open")
            try:
                yield subject
            finally:
                log.append("close")

        suite = Suite("states", prepare)

        @suite.law()
        def fails(subject):
            """It fails."""
            raise ValueError

        @suite.law()
        def cannot(subject):
            """It cannot be asked."""
            raise NotApplicable("no network")

        first, second = [case.run() for case in suite.cases_of("x", object())]
        assert not first.ok and first.message == "ValueError: It fails." and str(first).startswith("FAILED  x: fails")
        assert second.ok and second.skipped == "no network"
        assert log == ["open", "close"] * 2
        with pytest.raises(AssertionError, match="FAILED"):
            next(suite.cases_of("x", object())).check()

    def test_a_class_without_the_hooks_is_told_which(self):
        class Bare:
            name, version, tags = "bare", 1, frozenset()

        result = next(states.SUITE.cases_of("bare", Bare)).run()
        assert not result.ok and "example_batch" in result.message

    def test_results_cross_processes(self):
        result = states.run(["counts"])[0]
        assert pickle.loads(pickle.dumps(result)) == result
