"""The byte form of states: what is refused, and what is stable."""

from __future__ import annotations

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent import registry
from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.moments import Moments
from incumbent.stats.state import State

STATE = Moments.zero(variables=["a", "b"]).update([[1.0, 2.0], [3.0, 5.0]])


def test_the_layout_is_as_documented():
    data = STATE.to_bytes()
    assert data[:3] == b"IS\x01"
    (length,) = struct.unpack("<I", data[3:7])
    header = json.loads(data[7:7 + length])
    assert header == {"name": "moments", "version": 1, "config": {"variables": ["a", "b"]}, "arrays": [
        ["n", "<i8", []], ["missing", "<i8", []], ["means", "<f8", [2]], ["scatter", "<f8", [2, 2]]]}
    body = struct.unpack("<2q6d", data[7 + length:])
    assert body == (2, 0, 2.0, 3.5, 2.0, 3.0, 3.0, 4.5)


def _changed(**changes):
    data = STATE.to_bytes()
    (length,) = struct.unpack("<I", data[3:7])
    header = json.dumps({**json.loads(data[7:7 + length]), **changes}).encode()
    return data[:3] + struct.pack("<I", len(header)) + header + data[7 + length:]


@pytest.mark.parametrize(("data", "message"), [
    (b"", "do not begin|not a state"), (b"\x80\x04.", "not a state"), (STATE.to_bytes()[:-1], "not a state"),
    (STATE.to_bytes() + b"x", "follow the last array"), (_changed(name="counts"), "another state"),
    (_changed(version=2), "unknown version.*newer"), (_changed(version=0), "unknown version"),
    (_changed(config={"variables": ["a"]}), "wrong shape"), (_changed(config={"other": 1}), "not a state|unknown"),
    (_changed(arrays=[["n", "O", []]]), "no kind"), (_changed(arrays=[["n", "<i8", [-1]]]), "no kind|not a state"),
    (_changed(arrays=[]), "not a state|follow"), (_changed(arrays=[["n", "<i8", [2**62]]]), "not a state"),
])
def test_bad_bytes(data, message):
    with pytest.raises(StateError, match=message):
        Moments.from_bytes(data)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(registry.names("states")), st.data())
def test_a_flipped_byte_is_read_or_refused_and_nothing_else(name, data):
    cls = registry.load("states", name)
    good = cls.zero(**cls.example_configs[0]).update(*cls.example_batch(np.random.default_rng(1), 9)).to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1:]
    with contextlib.suppress(StateError):
        assert isinstance(cls.from_bytes(bad), cls)


def test_from_bytes_takes_what_stores_give():
    assert Moments.from_bytes(bytes(memoryview(STATE.to_bytes()))) == STATE


def test_equality_hash_and_repr():
    same = Moments.zero(variables=["a", "b"]).update([[1.0, 2.0], [3.0, 5.0]])
    assert same == STATE and hash(same) == hash(STATE) and same != STATE.merge(STATE) and STATE != 3
    assert repr(STATE) == "<Moments(variables=['a', 'b'])>"
    assert repr(Moments.zero()) == "<Moments(variables=['x']) empty>"


def test_different_classes_and_configurations_do_not_add():
    from incumbent.stats.counts import Counts

    with pytest.raises(StateError, match="different classes"):
        STATE.merge(Counts.zero())
    with pytest.raises(StateError, match=r"different configurations.*Hint"):
        STATE.merge(Moments.zero(variables=["a", "c"]))


def test_the_configuration_cannot_be_changed_from_outside():
    STATE.config["variables"].append("c")
    assert STATE.variables == ["a", "b"]


@pytest.mark.parametrize("name", registry.names("states"))
def test_registered_names_are_the_classes_own(name):
    cls = registry.load("states", name)
    assert cls.name == name and isinstance(cls.zero(**cls.example_configs[0]), State)


@pytest.mark.parametrize("name", registry.names("states"))
def test_merged_at_once_equals_one_after_the_other(name):
    cls = registry.load("states", name)
    if not issubclass(cls, ArrayState):
        pytest.skip("has a merge of its own alone")
    rng, zero = np.random.default_rng(3), cls.zero(**cls.example_configs[0])
    parts = [zero, *(zero.update(*cls.example_batch(rng, rows)) for rows in (9, 1, 30)), zero]
    chain = parts[0]
    for part in parts[1:]:
        chain = chain.merge(part)
    assert cls.merged(parts) == chain and cls.merged(parts[1:2]) == parts[1]
    with pytest.raises(DataError, match="no states"):
        cls.merged([])
    with pytest.raises(StateError, match="different"):
        cls.merged([parts[0], cls.zero(**cls.example_configs[1])])


def test_a_header_read_before_is_no_leave_to_skip_the_checks():
    head = _changed(arrays=[["n", "<i8", []], ["missing", "<i8", []], ["means", "<f8", [1]],
                            ["scatter", "<f8", [2, 2]]])
    for _ in range(2):
        with pytest.raises(StateError, match="follow the last array"):
            Moments.from_bytes(head)
        with pytest.raises(StateError, match="wrong shape"):
            Moments.from_bytes(head[:-8])
        with pytest.raises(StateError, match="another state"):
            registry.load("states", "counts").from_bytes(STATE.to_bytes())
    assert Moments.from_bytes(STATE.to_bytes()).config == STATE.config
