"""The laws of states, over every registered State class and over yours: ``incumbent check states:my.module:MyState``.

Beside the `State` protocol a class gives the suite three things (docs/measure/states.md): `example_configs`, `example_batch`
and `estimates`. Golden bytes stand in ``golden = {version: (hex, {name: value})}`` on the class, or, for the built-ins,
in ``golden_states.json`` beside this file.
"""  # noqa: E501

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np

from incumbent.stats.state import State
from incumbent.testing.checks.state_sample import SEED, Sample, filled, is_float, refused, shipped
from incumbent.testing.checks.suite import NotApplicable, Result, Suite


@contextmanager
def _prepare(cls: Any) -> Iterator[Sample]:
    for hook in ("example_batch", "example_configs", "estimates"):
        if not hasattr(cls, hook):
            raise NotImplementedError(f"the suite needs {hook} on the class: see docs/measure/states.md")
    yield Sample(cls)


SUITE = Suite("states", _prepare)
law = SUITE.law


def run(names: list[str] | None = None) -> list[Result]:
    """All laws of the named State classes (registered names or ``module:Class``); None = all registered."""
    return SUITE.run(names)


# ---------------------------------------------------------------------------------------------------- the algebra
@law()
def is_a_state(sample: Sample) -> None:
    """The class follows the State protocol, and its tags are known ones."""
    for zero in sample.zeros():
        assert isinstance(zero, State), "a member of the State protocol is missing"
        assert isinstance(zero.name, str) and zero.name and zero.version >= 1
    assert sample.cls.tags <= {"subtract", "exact", "shift"}, f"unknown tags in {sorted(sample.cls.tags)}"


@law()
def empty_is_identity(sample: Sample) -> None:
    """zero + s = s = s + zero."""
    for zero in sample.zeros():
        whole = zero.update(*sample.batch)
        sample.same(zero.merge(whole), whole, "zero + s against s")
        sample.same(whole.merge(zero), whole, "s + zero against s")


@law()
def empty_plus_empty_is_empty(sample: Sample) -> None:
    """zero + zero is zero, and so is an update with no rows."""
    for zero in sample.zeros():
        assert zero.empty, "zero is not empty"
        assert zero.merge(zero).empty and zero.merge(zero).to_bytes() == zero.to_bytes(), "zero + zero is not zero"
        none = zero.update(*sample.take(np.arange(0)))
        assert none.empty and none.to_bytes() == zero.to_bytes(), "an update with no rows changes the state"
        assert not zero.update(*sample.batch).empty, "a state of rows says that it is empty"


@law()
def split_equals_whole(sample: Sample) -> None:
    """Rows dealt at random over shards give, merged, the state of all rows."""
    for zero in sample.zeros():
        whole = zero.update(*sample.batch)
        for count in (2, 3, 7):
            cuts = sorted(sample.rng.integers(0, sample.rows + 1, count - 1).tolist())
            sizes = np.diff([0, *cuts, sample.rows]).tolist()
            shards = sample.shards(zero, sizes)
            sample.same(reduce(lambda a, b: a.merge(b), shards), whole, f"{count} shards of {sizes} rows")


@law()
def one_row_shards_equal_whole(sample: Sample) -> None:
    """One shard per row gives the state of all rows, by merging and by updating."""
    for zero in sample.zeros():
        whole = zero.update(*sample.batch)
        ones = sample.shards(zero, [1] * sample.rows)
        sample.same(reduce(lambda a, b: a.merge(b), ones), whole, "merged row by row")
        grown = zero
        for row in range(sample.rows):
            grown = grown.update(*sample.take(np.array([row])))
        sample.same(grown, whole, "updated row by row")


@law()
def merge_commutes(sample: Sample) -> None:
    """a + b = b + a."""
    for zero in sample.zeros():
        a, b = sample.shards(zero, [13, sample.rows - 13])
        sample.same(a.merge(b), b.merge(a), "a + b against b + a")


@law()
def merge_associates(sample: Sample) -> None:
    """(a + b) + c = a + (b + c)."""
    for zero in sample.zeros():
        a, b, c = sample.shards(zero, [1, 20, sample.rows - 21])
        sample.same(a.merge(b).merge(c), a.merge(b.merge(c)), "(a + b) + c against a + (b + c)")


@law("subtract")
def subtract_inverts_merge(sample: Sample) -> None:
    """(a + b) - b = a, a - a is empty, and what is no part cannot be taken away."""
    for zero in sample.zeros():
        a, b = sample.shards(zero, [25, sample.rows - 25])
        sample.same(a.merge(b).subtract(b), a, "(a + b) - b against a")
        assert a.subtract(a).empty, "a - a is not empty"
        refused(lambda a=a, b=b: a.subtract(a.merge(b)), "taking more away than there is")  # type: ignore[misc]


@law("exact")
def exact_to_the_bit(sample: Sample) -> None:
    """However the rows are dealt and in whatever order the shards come, the bytes are the same."""
    for zero in sample.zeros():
        whole = zero.update(*sample.batch).to_bytes()
        for _ in range(5):
            sizes = sample.rng.multinomial(sample.rows, [0.2] * 5).tolist()
            shards = sample.shards(zero, sizes)
            merged = shards[0].merge(shards[1]).merge(shards[2].merge(shards[3].merge(shards[4])))
            assert merged.to_bytes() == whole, f"shards of {sizes} rows differ from the whole"


@law("shift")
def stable_under_shift(sample: Sample) -> None:
    """Adding 1e9 to every value moves no standard error, sharded or not."""
    for zero in sample.zeros():
        sample.batch = tuple(arg + 1e9 if is_float(arg) else arg for arg in sample.cls.example_batch(
            np.random.default_rng(SEED), sample.rows))
        moved = reduce(lambda a, b: a.merge(b), sample.shards(zero, [1, 30, sample.rows - 31]))
        batch = tuple(arg - 1e9 if is_float(arg) else arg for arg in sample.batch)
        for name, still in zero.update(*batch).estimates().items():
            se = moved.estimates()[name].se
            assert se is not None and abs(se - still.se) <= 1e-6 * still.se, f"se of {name} is {se} against {still.se}"


# ------------------------------------------------------------------------------------------------- configuration
@law()
def configuration_is_plain(sample: Sample) -> None:
    """The configuration is JSON, makes the same state again, and has a hash of its own."""
    hashes = set()
    for zero in sample.zeros():
        again = sample.cls.zero(**json.loads(json.dumps(zero.config)))
        assert again.config_hash == zero.config_hash and again.config == zero.config, "zero(**config) is another"
        assert len(zero.config_hash) == 16 and int(zero.config_hash, 16) >= 0, "the hash is not 16 hex digits"
        hashes.add(zero.config_hash)
    assert len(hashes) == len(sample.cls.example_configs), "two configurations have one hash"


@law()
def merge_keeps_configuration(sample: Sample) -> None:
    """Updating and merging change no configuration."""
    for zero in sample.zeros():
        state = zero.update(*sample.batch)
        for made, how in ((state, "update"), (state.merge(state), "merge"), (zero.merge(zero), "merge of empty ones")):
            assert made.config == zero.config and made.config_hash == zero.config_hash, f"{how} changes it"


@law()
def different_configurations_refuse(sample: Sample) -> None:
    """Merging states of different configurations raises StateError."""
    zeros = sample.zeros()
    if len(zeros) < 2:
        raise NotApplicable("only one example configuration")
    for i, a in enumerate(zeros):
        for b in zeros[:i] + zeros[i + 1:]:
            refused(lambda a=a, b=b: a.merge(b), f"merging {a.config} with {b.config}")  # type: ignore[misc]
            refused(lambda a=a, b=b: a.update(*sample.batch).merge(b),  # type: ignore[misc]
                     f"merging rows of {a.config} with an empty {b.config}")


# ------------------------------------------------------------------------------------------------------- reading
@law()
def empty_reads_missing(sample: Sample) -> None:
    """Every estimate of an empty state, and of one that saw NaN alone, is missing with a reason, never 0."""
    floats = any(is_float(arg) for arg in sample.batch)
    for zero in sample.zeros():
        estimates = zero.estimates()
        assert estimates, "an empty state has no estimates at all: let it say what is missing"
        alone = zero.update(*filled(sample, math.nan)).estimates() if floats else {}
        for name, estimate in (*estimates.items(), *alone.items()):
            assert estimate.value is None and estimate.reason, f"{name} of an empty state is {estimate.value}"


@law()
def missing_values_are_left_out(sample: Sample) -> None:
    """Rows with NaN change no value, and infinite ones make no NaN."""
    if not any(is_float(arg) for arg in sample.batch):
        raise NotApplicable("update takes no float arrays")
    for zero in sample.zeros():
        clean = zero.update(*sample.batch)
        bad = zero.update(*filled(sample, math.nan))
        for name, estimate in clean.merge(bad).estimates().items():
            want = clean.estimates()[name].value
            assert estimate.value == want, f"{name} is {estimate.value} against {want} without the NaN rows"
        for infinite in (math.inf, -math.inf):
            clean.merge(zero.update(*filled(sample, infinite))).estimates()  # an Estimate refuses NaN itself


@law()
def inputs_are_not_mutated(sample: Sample) -> None:
    """Neither update nor merge changes its operands or the arrays that it was given."""
    before = [np.array(arg, copy=True) for arg in sample.batch]
    for zero in sample.zeros():
        empty = zero.to_bytes()
        a, b = sample.shards(zero, [25, sample.rows - 25])
        first, second = a.to_bytes(), b.to_bytes()
        a.merge(b), a.update(*sample.batch), zero.update(*sample.batch)
        assert (a.to_bytes(), b.to_bytes(), zero.to_bytes()) == (first, second, empty), "an operand changed"
        for arg, copy in zip(sample.batch, before, strict=True):
            equal = np.array_equal(arg, copy, equal_nan=True) if is_float(arg) else list(arg) == list(copy)
            assert equal, "update changed the array that it was given"


# --------------------------------------------------------------------------------------------------------- bytes
@law()
def bytes_round_trip(sample: Sample) -> None:
    """from_bytes(to_bytes) is the same state, and merges like it."""
    for zero in sample.zeros():
        a, b = sample.shards(zero, [25, sample.rows - 25])
        for state in (zero, a, a.merge(b)):
            again = sample.cls.from_bytes(state.to_bytes())
            assert again.to_bytes() == state.to_bytes(), "the bytes of the state read back differ"
            assert again.config == state.config, "the configuration read back differs"
            assert again.estimates() == state.estimates(), "the estimates of the state read back differ"
        again = sample.cls.from_bytes(a.to_bytes()).merge(sample.cls.from_bytes(b.to_bytes()))
        assert again.to_bytes() == a.merge(b).to_bytes(), "states read back merge differently"


@law()
def bad_bytes_refuse(sample: Sample) -> None:
    """Cut, foreign and empty bytes raise StateError."""
    data = sample.zeros()[0].update(*sample.batch).to_bytes()
    for bad in (b"", data[:3], data[: len(data) // 2], data[:-1], data + b"\0", b"\x80\x04" + data):
        refused(lambda bad=bad: sample.cls.from_bytes(bad), f"reading {len(bad)} of {len(data)} bytes")  # type: ignore[misc]


@law()
def golden_bytes_are_read(sample: Sample) -> None:
    """Bytes written by every version so far read as the values they held; today's version writes today's bytes."""
    golden = getattr(sample.cls, "golden", None) or shipped(sample.cls.name)
    missing = sorted(set(range(1, sample.cls.version + 1)) - set(golden))
    example = sample.zeros()[0].update(*sample.take(np.arange(5)))
    values = {name: estimate.value for name, estimate in example.estimates().items()}
    assert not missing, (f"no golden bytes of version {missing}: give the class "
                         f"golden = {{{sample.cls.version}: ({example.to_bytes().hex()!r}, {values!r})}}")
    for version, (text, readings) in golden.items():
        state = sample.cls.from_bytes(bytes.fromhex(text))
        if version == sample.cls.version:
            assert state.to_bytes().hex() == text, f"version {version} writes other bytes than it did"
        for name, value in readings.items():
            got = state.estimates()[name].value
            assert got == value or math.isclose(got, value, rel_tol=1e-12), f"{name} reads {got} against {value}"


@law()
def size_is_bounded(sample: Sample) -> None:
    """Eight times the rows take less than four times the bytes: no state keeps its rows."""
    few, many = Sample(sample.cls, 512), Sample(sample.cls, 4096)
    for a, b in zip(few.zeros(), many.zeros(), strict=True):
        small, large = len(a.update(*few.batch).to_bytes()), len(b.update(*many.batch).to_bytes())
        assert large <= 4 * small + 1024, f"{small} bytes after 512 rows, {large} after 4096"
