"""The credit kernels: the known answers of the reference, and the contract suite over all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from incumbent import registry
from incumbent.errors import DataError
from incumbent.experiments.credit import Touches, Weights, impression, last_touch
from incumbent.testing.checks import credits
from incumbent.testing.checks.suite import Suite

T, C, S = "candidate", "champion", None


def by_team(name: str, owners: list[str | None], **options: Any) -> tuple[float, float]:
    """Credits of candidate and champion of one outcome after exposures of these owners (None: shared)."""
    touches = Touches.of([0] * len(owners), [owner is not None for owner in owners])
    weights = registry.load("credits", name)(touches, **options)
    return tuple(round(sum(w for w, owner in zip(weights, owners, strict=True) if owner == team), 9)
                 for team in (T, C))  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "owners", "options", "wanted"), [
    ("last_touch", [T, C, S, T], {}, (1, 0)),
    ("first_touch", [T, C, S, T], {}, (1, 0)),
    ("all_touch", [T, C, S, T], {}, (2, 1)),
    ("share", [T, C, S, T], {}, (round(2 / 3, 9), round(1 / 3, 9))),
    ("last_touch", [T, C, S], {}, (0, 0)),
    ("last_touch", [T, C, S], {"skip_neutral": True}, (0, 1)),
    ("first_touch", [S, T, C], {}, (0, 0)),
    ("first_touch", [S, T, C], {"skip_neutral": True}, (1, 0)),
    ("impression", [T, C, S, T], {}, (0, 0)),
    ("share", [S, S], {}, (0, 0)),
])
def test_known_answers(
    name: str, owners: list[str | None], options: dict[str, Any], wanted: tuple[float, float],
) -> None:
    assert by_team(name, owners, **options) == wanted


@pytest.mark.parametrize("case", credits.SUITE.cases(), ids=str)
def test_contract(case: Any) -> None:
    case.check()


def test_all_five_are_registered_and_asked() -> None:
    assert registry.names("credits") == ["all_touch", "first_touch", "impression", "last_touch", "share"]
    assert {case.name for case in credits.SUITE.cases()} == set(registry.names("credits"))
    assert len(credits.run(["share"])) == 9 and len(credits.run(["all_touch"])) == 8
    assert all(result.ok for result in credits.run())


def forgets_the_name(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    return last_touch(Touches.of(touches.outcome, touches.competitive), skip_neutral=skip_neutral)


def pays_neutral(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    return np.where(touches.named, 1.0, 0.5)


def looks_around(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    return impression(touches) * (1.0 if len(touches.outcome) < 10 else 0.5)


def favours_even_codes(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    return np.where(touches.outcome % 2 == 0, last_touch(touches), impression(touches))


def pays_twice(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    return registry.load("credits", "all_touch")(touches)


pays_twice.tags = frozenset({"whole"})  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kernel", "law"), [
    (forgets_the_name, "a_named_exposure_takes_all"), (pays_neutral, "neutral_exposures_carry_no_credit"),
    (looks_around, "outcomes_do_not_touch_one_another"), (favours_even_codes, "codes_are_only_names"),
    (pays_twice, "weights_sum_to_at_most_one"),
])
def test_the_suite_finds_a_broken_kernel(kernel: Any, law: str) -> None:
    suite: Suite = credits.SUITE
    broken = {case.law.name for case in suite.cases_of("broken", kernel) if not case.run().ok}
    assert law in broken


def test_touches_are_checked() -> None:
    with pytest.raises(DataError, match="one value per row"):
        Touches.of([0, 0], [True])
    with pytest.raises(DataError, match="must not fall"):
        Touches.of([1, 0], [True, True])
