"""JSON Patch: the examples of RFC 6902 (appendix A), and what must not happen."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.events.patch import patch

APPENDIX = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo", "foo": "bar"}),
    ({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
     [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
     {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
    ({"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
     {"foo": ["all", "cows", "eat", "grass"]}),
    ({"baz": "qux", "foo": ["a", 2, "c"]},
     [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
     {"baz": "qux", "foo": ["a", 2, "c"]}),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
     {"foo": "bar", "child": {"grandchild": {}}}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
]
REFUSED = [
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], "the test fails"),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], "nothing at the path"),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], "the test fails"),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": True}], "the test fails"),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}], "nothing at the path"),
    ({"a": [1]}, [{"op": "remove", "path": "/a/01"}], "nothing at the path"),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}], "nothing at the path"),
    ({}, [{"op": "add", "path": "a", "value": 1}], "is no operation"),
    ({}, [{"op": "add", "path": "/a"}], "is no operation"),
    ({}, {"op": "add"}, "list of operations"),
]


@pytest.mark.parametrize(("document", "operations", "wanted"), APPENDIX)
def test_the_examples_of_the_rfc(document, operations, wanted):
    before = copy.deepcopy(document)
    assert patch(document, operations) == wanted and document == before


@pytest.mark.parametrize(("document", "operations", "why"), REFUSED)
def test_what_cannot_be_is_refused_whole(document, operations, why):
    before = copy.deepcopy(document)
    with pytest.raises(DataError, match=why):
        patch(document, operations)
    assert document == before


json_values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                                       max_size=3), max_leaves=8)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4), st.text(max_size=3), json_values)
def test_what_is_added_is_there_and_gone_when_removed(document, key, value):
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    added = patch(document, [{"op": "add", "path": path, "value": value}])
    assert added == {**document, key: value}
    assert patch(added, [{"op": "remove", "path": path}]) == {k: v for k, v in document.items() if k != key}


@pytest.mark.parametrize("path", ["/k", "/k{index}"])
def test_copies_of_copies_are_refused_before_they_grow(path):
    bomb = [{"op": "copy", "from": "", "path": path.format(index=index)} for index in range(100)]
    with pytest.raises(DataError, match=r"patch\[\d+\]: the patch copies and adds too much"):
        patch({"a": "x" * 1000}, bomb)


def test_what_goes_again_counts_too_and_what_moves_does_not():
    turns = [{"op": "add", "path": "/k", "value": "x" * 1000}, {"op": "remove", "path": "/k"}] * 9
    assert patch({}, turns, most=9_100) == {}
    with pytest.raises(DataError, match=r"patch\[16\]: the patch copies and adds too much"):
        patch({}, turns, most=9_000)
    moves = [{"op": "move", "from": "/a", "path": "/b"}, {"op": "move", "from": "/b", "path": "/a"}] * 9
    assert patch({"a": "x" * 1000}, moves, most=0) == {"a": "x" * 1000}


def test_a_number_that_no_message_holds_is_a_mistake_of_the_patch():
    with pytest.raises(DataError, match="does not fit"):
        patch({}, [{"op": "add", "path": "/a", "value": 2**70}])
