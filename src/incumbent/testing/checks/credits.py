"""The contract of a credit kernel: what every attribution rule must obey to be team-blind and additive.

::

    incumbent check credits
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from incumbent.experiments.credit import Credit, Touches
from incumbent.testing.checks.suite import Result, Suite

SUITE = Suite("credits")


def random_touches(seed: int, outcomes: int = 40) -> Touches:
    """Outcomes with one to six touches each, some neutral, some named by their outcome."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(outcomes), rng.integers(1, 7, outcomes))
    names_one = rng.random(outcomes) < 0.3
    named = np.zeros(len(codes), bool)
    for code in np.flatnonzero(names_one):
        named[rng.choice(np.flatnonzero(codes == code))] = True
    return Touches.of(codes, rng.random(len(codes)) < 0.6, named)


def cases() -> Iterator[tuple[Touches, bool]]:
    """Touches with and without `skip_neutral`."""
    for seed in range(10):
        for skip in (False, True):
            yield random_touches(seed), skip


def _pick(touches: Touches, rows: NDArray[np.intp]) -> Touches:
    return Touches.of(touches.outcome[rows], touches.competitive[rows], touches.named[rows])


@SUITE.law()
def one_finite_weight_per_touch(credit: Credit) -> None:
    """A kernel answers one finite weight, not below 0 and not above 1, per touch."""
    for touches, skip in cases():
        weights = credit(touches, skip_neutral=skip)
        assert weights.shape == touches.outcome.shape, f"{weights.shape} weights of {touches.outcome.shape} touches"
        assert np.isfinite(weights).all() and (weights >= 0).all() and (weights <= 1).all(), "weights outside [0, 1]"


@SUITE.law()
def nothing_to_nobody(credit: Credit) -> None:
    """No touches, no weights."""
    assert len(credit(Touches.of([], []))) == 0


@SUITE.law()
def neutral_exposures_carry_no_credit(credit: Credit) -> None:
    """A slot of no team gets no credit, whatever the rule."""
    for touches, skip in cases():
        assert not credit(touches, skip_neutral=skip)[~touches.competitive].any(), "a neutral touch has credit"


@SUITE.law()
def a_named_exposure_takes_all(credit: Credit) -> None:
    """Where an outcome names its exposure, that one has the whole credit if it is competitive, and no other has any."""
    for touches, skip in cases():
        weights = credit(touches, skip_neutral=skip)
        for code in np.unique(touches.outcome[touches.named]):
            own = touches.outcome == code
            wanted = (touches.named & touches.competitive)[own].astype(float)
            assert (weights[own] == wanted).all(), f"outcome {code}: {weights[own]} in place of {wanted}"


@SUITE.law()
def outcomes_do_not_touch_one_another(credit: Credit) -> None:
    """The credit of an outcome depends on its own touches alone: not on other users, and not on sharding."""
    for touches, skip in cases():
        weights = credit(touches, skip_neutral=skip)
        for code in (0, 7, 39):
            rows = np.flatnonzero(touches.outcome == code)
            alone = credit(_pick(touches, rows), skip_neutral=skip)
            assert (alone == weights[rows]).all(), f"outcome {code} alone is credited otherwise"


@SUITE.law()
def codes_are_only_names(credit: Credit) -> None:
    """Numbering the outcomes otherwise changes nothing."""
    for touches, skip in cases():
        other = Touches.of(touches.outcome * 3 + 5, touches.competitive, touches.named)
        assert (credit(other, skip_neutral=skip) == credit(touches, skip_neutral=skip)).all(), "codes matter"


@SUITE.law()
def repeated_calls_agree(credit: Credit) -> None:
    """The same touches have the same weights, and are left as they were."""
    for touches, skip in cases():
        before = touches.outcome.copy(), touches.competitive.copy(), touches.named.copy()
        first, second = credit(touches, skip_neutral=skip), credit(touches, skip_neutral=skip)
        assert (first == second).all(), "two calls differ"
        after = touches.outcome, touches.competitive, touches.named
        assert all((a == b).all() for a, b in zip(before, after, strict=True)), "the input was changed"


@SUITE.law()
def a_single_competitive_touch_has_it_all_or_nothing(credit: Credit) -> None:
    """With one competitive touch there is nothing to share: its weight is 1, or 0 for a rule that wants it named."""
    weight = credit(Touches.of([0], [True]))[0]
    assert weight in (0.0, 1.0), f"weight {weight}"
    assert credit(Touches.of([0], [True], [True]))[0] == 1.0, "a named one must have it"


@SUITE.law(tag="whole")
def weights_sum_to_at_most_one(credit: Credit) -> None:
    """A rule tagged ``whole`` hands out each outcome once: its weights sum to 0 or 1."""
    for touches, skip in cases():
        sums = np.bincount(touches.outcome, weights=credit(touches, skip_neutral=skip))
        assert (np.isclose(sums, 0) | np.isclose(sums, 1)).all(), f"sums {np.unique(sums)}"


def run(names: Iterable[str] | None = None) -> list[Result]:
    """The results of all laws: what ``incumbent check credits`` prints."""
    return SUITE.run(names)
