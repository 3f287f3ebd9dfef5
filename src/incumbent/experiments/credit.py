"""Credit: to which of the exposures that preceded it an outcome is attributed.

A kernel sees the exposures of each outcome in their order and never whose model contributed them, so that it cannot
but be team-blind: swapping the team names swaps the credits. Weights are split by owner only afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError

Weights = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: the kinds of slot that carry credit; all others are neutral: they carry none, but they do consume a touch
COMPETITIVE = ("pair", "half")

#: the collector's marks that bar feedback from every sum of money
MONEYLESS = ("unserved", "forged", "bot")

#: what bars feedback from every credit, the gravest first; whose request it names does not say whose money it is
BARRED = (*MONEYLESS, "foreign_user")


class CreditTerms(Struct, frozen=True):
    """How one group of exposures (a surface and an experiment, or none) attributes outcomes.

    `attribution` is the registered name of a kernel; an exposure at t may be credited with an outcome in [t, t + W].
    """

    attribution: str = "last_touch"
    window_days: float = 7.0
    skip_neutral: bool = False


@dataclass(frozen=True, eq=False)
class Touches:
    """The exposures (n,) that outcomes may be credited to, all inside their windows.

    `outcome` (n,) are codes that do not fall, one per outcome and group, rows of a code in the order of exposure;
    `competitive` (n,) whether the slot carries credit; `named` (n,) whether the outcome's own request id names it.
    """

    outcome: NDArray[np.int64]
    competitive: Flags
    named: Flags

    @classmethod
    def of(cls, outcome: ArrayLike, competitive: ArrayLike, named: ArrayLike | None = None) -> Touches:
        """Checked touches; `DataError` for lengths that differ or codes that fall."""
        codes = np.asarray(outcome, np.int64)
        credit = np.asarray(competitive, np.bool_)
        own = np.zeros(len(codes), np.bool_) if named is None else np.asarray(named, np.bool_)
        if not len(codes) == len(credit) == len(own):
            raise DataError("touches need one value per row", got=(len(codes), len(credit), len(own)))
        if len(codes) and (np.diff(codes) < 0).any():
            raise DataError("outcome codes must not fall", got=codes[:8].tolist(), hint="sort by outcome, then time")
        return cls(codes, credit, own)


class Credit(Protocol):
    """A kernel: the weight (n,) of each touch in its outcome; 0 on neutral ones."""

    def __call__(self, touches: Touches, *, skip_neutral: bool = False) -> Weights: ...


def impression(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    """The exposure that the outcome's own request id names, and nothing else: weight 1 there if it is competitive.

    Every other kernel does the same where an outcome names an exposure, and follows its rule where it names none. Of
    several named ones the last counts.

    >>> impression(Touches.of([0, 0, 1], [1, 1, 1], [1, 0, 0])).tolist()
    [1.0, 0.0, 0.0]
    """
    weights = np.zeros(len(touches.outcome))
    rows = np.flatnonzero(touches.named)
    weights[rows[_last(touches.outcome[rows])]] = 1.0
    return np.where(touches.competitive, weights, 0.0)


def last_touch(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    """The last exposure before the outcome: weight 1 if it is competitive, none at all if it is neutral.

    With `skip_neutral` the last competitive one, however many neutral ones followed it.

    >>> last_touch(Touches.of([0, 0, 0, 0], [1, 1, 0, 1])).tolist()  # T, C, shared, T
    [0.0, 0.0, 0.0, 1.0]
    >>> last_touch(Touches.of([0, 0, 0], [1, 1, 0])).tolist()  # T, C, shared
    [0.0, 0.0, 0.0]
    >>> last_touch(Touches.of([0, 0, 0], [1, 1, 0]), skip_neutral=True).tolist()
    [0.0, 1.0, 0.0]
    """
    return _one_touch(touches, skip_neutral, _last)


def first_touch(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    """The first exposure within the window: weight 1 if it is competitive, none at all if it is neutral.

    >>> first_touch(Touches.of([0, 0, 0, 0], [1, 1, 0, 1])).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    return _one_touch(touches, skip_neutral, _first)


def all_touch(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    """Every competitive exposure within the window, weight 1 each: the weights of an outcome sum to their number.

    Source: Airbnb, arXiv 2508.00751.

    >>> all_touch(Touches.of([0, 0, 0, 0], [1, 1, 0, 1])).tolist()
    [1.0, 1.0, 0.0, 1.0]
    """
    return _with_named(touches, touches.competitive.astype(np.float64))


def share(touches: Touches, *, skip_neutral: bool = False) -> Weights:
    """Every competitive exposure within the window, ``1 / their number`` each: the weights of an outcome sum to 1.

    A team's credit is its part of the user's competitive exposures of the item (GrowthBook's ownership).

    >>> share(Touches.of([0, 0, 0, 1], [1, 1, 0, 1])).tolist()
    [0.5, 0.5, 0.0, 1.0]
    """
    if not len(touches.outcome):
        return np.zeros(0)
    number = np.bincount(touches.outcome, weights=touches.competitive)
    return _with_named(touches, touches.competitive / np.maximum(number[touches.outcome], 1.0))


def _one_touch(touches: Touches, skip_neutral: bool, end: _End) -> Weights:
    rows = np.flatnonzero(touches.competitive) if skip_neutral else np.arange(len(touches.outcome))
    weights = np.zeros(len(touches.outcome))
    weights[rows[end(touches.outcome[rows])]] = 1.0
    return _with_named(touches, np.where(touches.competitive, weights, 0.0))


def _with_named(touches: Touches, weights: Weights) -> Weights:
    """The weights by the rule, but by `impression` for outcomes that name an exposure."""
    if not touches.named.any():
        return weights
    names_one = np.isin(touches.outcome, touches.outcome[touches.named])
    return np.where(names_one, impression(touches), weights)


class _End(Protocol):
    def __call__(self, codes: NDArray[np.int64]) -> NDArray[np.intp]: ...


def _last(codes: NDArray[np.int64]) -> NDArray[np.intp]:
    """The index of the last row of each run of equal codes."""
    return np.flatnonzero(np.diff(codes, append=codes[-1:] + 1)) if len(codes) else np.zeros(0, np.intp)


def _first(codes: NDArray[np.int64]) -> NDArray[np.intp]:
    """The index of the first row of each run of equal codes."""
    return np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1)) if len(codes) else np.zeros(0, np.intp)


#: what the contract suite may ask of each: ``whole`` hands out an outcome at most once
for _kernel in (impression, last_touch, first_touch, share):
    _kernel.tags = frozenset({"whole"})  # type: ignore[attr-defined]
