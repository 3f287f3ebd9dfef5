"""Cursors: they come back as they went, and no others come back."""

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.events.ids import Signer
from incumbent.experiments.paging import Cursor, lists_digest, read, unit_digest, write

SIGNER = Signer(b"secret")
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
CURSORS = st.builds(Cursor, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, st.booleans(), st.integers(1, 99), st.integers(0, 999),
                    st.integers(0, 999), st.lists(TEXT, max_size=30))


@settings(deadline=None, max_examples=60)
@given(CURSORS)
def test_round_trip(cursor: Cursor) -> None:
    text = write(cursor, SIGNER)
    assert read(text, SIGNER) == cursor
    assert text.isascii() and not set(text) & set("+/= \n"), "fit for a URL"


@settings(deadline=None, max_examples=60)
@given(CURSORS, st.data())
def test_any_changed_letter_is_noticed(cursor: Cursor, data: st.DataObject) -> None:
    text = write(cursor, SIGNER)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Aa0_-.").filter(lambda letter: letter != text[at]))
    with pytest.raises(DataError, match="cursor"):
        read(text[:at] + other + text[at + 1:], SIGNER)


@pytest.mark.parametrize("text", ["", ".", "x", "a.b", "a.b.c", "é.AAAAAAAAAAAA", "\x00"])
def test_made_up_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not one of ours"):
        read(text, SIGNER)


def test_another_secret_is_refused() -> None:
    cursor = Cursor("r", "home", "p", "u", "interleave", "d", True, 1, 1, 1, [])
    with pytest.raises(DataError, match="not one of ours"):
        read(write(cursor, Signer(b"other")), SIGNER)


@pytest.mark.parametrize("body", [b"\xff\xff", msgspec.msgpack.encode(["r", 1]), msgspec.msgpack.encode({"a": 1})])
def test_a_signed_text_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(DataError, match="older form"):
        read(SIGNER.of("cursor").sign(base64.urlsafe_b64encode(body).decode()), SIGNER)


def test_a_signed_request_id_is_no_cursor_and_no_cursor_a_request_id() -> None:
    with pytest.raises(DataError, match="not one of ours"):
        read(SIGNER.sign("01936d39-0000-7000-8000-000000000000"), SIGNER)
    assert SIGNER.verify(write(Cursor("r", "home", "p", "u", "interleave", "d", True, 1, 1, 1, []), SIGNER)) is None


def test_digests_tell_lists_apart() -> None:
    lists = [[["a"], ["b"]], [["b"], ["a"]], [["a", "b"], []], [["a", "b"]], [["ab"]], [[], ["a", "b"]], [[]], []]
    assert len({lists_digest(one) for one in lists}) == len(lists)
    assert lists_digest([["a"], ["b"]]) == lists_digest((("a",), ("b",)))


def test_unit_digest_hides_the_id() -> None:
    assert unit_digest("anna@example.com") != unit_digest("anne@example.com")
    assert len(unit_digest("u" * 256)) == 8
