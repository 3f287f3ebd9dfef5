"""One shape of error: what, got, expected, hint; small, picklable, and never failing itself."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent import errors
from incumbent.errors import ConfigError, DataError, IncumbentError, Quoted, shorten

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, IncumbentError)]


def test_rendering_leaves_absent_parts_out():
    assert str(DataError("no share")) == "no share."
    assert str(DataError("no share.", expected="one.", hint="see docs.")) == "no share. Expected one. Hint: see docs."
    assert str(DataError("share", got=None)) == "share. Got None."
    assert str(DataError("share", got=0)) == "share. Got 0."


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_has_one_shape_and_crosses_processes(cls):
    error = cls("share is wrong", got=1.5, expected="(0, 1)", hint="5 % is 0.05", field="events[3].share")
    body = error.to_dict()
    assert body == {"error": {"code": cls.code, "what": "share is wrong", "got": "1.5", "expected": "(0, 1)",
                              "hint": "5 % is 0.05", "field": "events[3].share"}}
    assert json.loads(json.dumps(body)) == body and 400 <= cls.status <= 503
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls and str(again) == str(error) and again.to_dict() == body


def test_codes_are_distinct():
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)


def test_a_configuration_error_lists_its_problems():
    error = ConfigError("two mistakes", problems=("a: no.", "b: no."))
    assert str(error) == "two mistakes.\n  - a: no.\n  - b: no."
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no")


def _deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("value", [
    "x" * 10**7, b"x" * 10**7, [1] * 10**6, {str(i): i for i in range(10**5)}, _deep(), {"a": _deep()}, 10**5000,
    Unprintable(), "\ud800", float("nan")], ids=lambda value: type(value).__name__)
def test_shorten_never_fails_and_never_carries_much(value):
    text = shorten(value)
    assert 0 < len(text) <= 120 and json.dumps(text)
    assert len(str(DataError("bad", got=value))) < 140


@given(st.text(max_size=50) | st.integers() | st.lists(st.integers(), max_size=5))
def test_small_values_are_shown_whole(value):
    assert shorten(value, 1000) == repr(value)


def test_what_another_process_had_got_is_not_quoted_again():
    first = DataError("no such surface", got="hoem")
    assert str(DataError(first.what, got=Quoted(first.got))) == str(first)
    assert len(shorten(Quoted("x" * 500))) == 120
