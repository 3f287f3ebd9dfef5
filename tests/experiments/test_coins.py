"""Coins: the words of SHAKE128, as the reference prints them."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.experiments.coins import coins

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20)


def test_the_known_words() -> None:
    assert coins("exp1", "u42", "req-0001", 4) == pytest.approx(
        [0.385768495660, 0.781809250141, 0.163376267111, 0.577883672524], abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(TEXT, TEXT, TEXT, st.integers(0, 60), st.integers(0, 60))
def test_a_longer_output_starts_with_the_shorter(salt: str, unit: str, ranking: str, n: int, more: int) -> None:
    assert coins(salt, unit, ranking, n + more)[:n] == coins(salt, unit, ranking, n)


def test_each_coin_is_a_big_endian_word_over_two_to_the_64() -> None:
    raw = hashlib.shake_128("s\x1fÅse\x1fr".encode()).digest(80)
    words = [int.from_bytes(raw[at:at + 8], "big") for at in range(0, 80, 8)]
    assert coins("s", "Åse", "r", 10) == [word / 2**64 for word in words]


@pytest.mark.parametrize("changed", [("t", "u", "r"), ("s", "v", "r"), ("s", "u", "q")])
def test_each_part_matters(changed: tuple[str, str, str]) -> None:
    assert coins(*changed, 4) != coins("s", "u", "r", 4)


def test_coins_are_uniform_and_independent_of_their_place() -> None:
    draws = [coins("s", f"u{n}", f"r{n}", 4) for n in range(5000)]
    for place in range(4):
        mean = sum(one[place] for one in draws) / 5000
        assert abs(mean - 0.5) < 4 * (1 / 12 / 5000) ** 0.5
    together = sum((one[0] < 0.5) == (one[1] < 0.5) for one in draws) / 5000
    assert abs(together - 0.5) < 4 * (0.25 / 5000) ** 0.5
