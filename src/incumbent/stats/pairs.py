"""Pairs: the additive cross-moments of paired vectors, the same items in two versions of a space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.estimate import Estimate
from incumbent.stats.vectors_pass import LARGEST
from incumbent.stats.vectors_read import blocks

_BLOCK = 2048  # rows at a time
Block = NDArray[np.float32]
Array = NDArray[np.float64]


class Pairs(ArrayState):
    """Sums over pairs (x, z), x the old vector of an item and z its new one, both of dimension d.

    Arrays: `n` sound pairs; `missing` pairs left out, since a number in either vector is NaN, infinite or beyond 1e18;
    `old`, `new` (d,): sum x, sum z; `cross` (d, d): sum x z'; `squares` (2,): sum |x|^2, sum |z|^2. All float64, within
    1e-9 of the sum of magnitudes however the pairs were dealt. A vector of zeros counts: an item that lost its vector
    has moved. 8 (d^2 + 2 d) bytes, 1.2 MB at 384 dimensions.

    They are all that a rotation, scale and translation between the versions need (`incumbent.drift.versions`).
    Source: P. H. Schonemann, Psychometrika 31 (1966).

    >>> pairs = Pairs.zero(dimension=2).update([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [-2.0, 0.0]])
    >>> int(pairs.n), pairs.cross.tolist(), pairs.squares.tolist()
    (2, [[0.0, 1.0], [-4.0, 0.0]], [5.0, 5.0])
    """

    name = "pairs"
    version = 1
    tags = frozenset({"subtract"})
    arrays: ClassVar[dict[str, str]] = {
        "n": "<i8", "missing": "<i8", "old": "<f8", "new": "<f8", "cross": "<f8", "squares": "<f8"}
    example_configs = ({"dimension": 3, "old_version": "a", "new_version": "b"},
                       {"dimension": 3, "old_version": "b", "new_version": "c"}, {"dimension": 3})
    n: NDArray[np.int64]
    missing: NDArray[np.int64]
    old: Array
    new: Array
    cross: Array
    squares: Array

    @classmethod
    def zero(cls, *, dimension: int = 0, old_version: str = "", new_version: str = "", **unknown: Any) -> Self:
        """No pairs yet of these versions (their names keep states of other versions from being added)."""
        if unknown:
            raise DataError("unknown setting of a state", got=sorted(unknown),
                            expected="dimension, old_version, new_version")
        if isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= 65_536:
            raise DataError("dimension must be a whole number in [1, 65536]", got=dimension, field="dimension")
        if not isinstance(old_version, str) or not isinstance(new_version, str):
            raise DataError("versions are names", got=(old_version, new_version), expected="text")
        config = {"dimension": dimension, "old_version": old_version, "new_version": new_version}
        return cls(config, n=0, missing=0, old=np.zeros(dimension), new=np.zeros(dimension),
                   cross=np.zeros((dimension, dimension)), squares=np.zeros(2))

    @property
    def dimension(self) -> int:
        """Coordinates of a vector."""
        return len(self.old)

    @property
    def empty(self) -> bool:
        """True where no pair was seen, not even one left out."""
        return int(self.n) == 0 and int(self.missing) == 0

    def update(self, old: Any, new: Any) -> Self:
        """Add pairs: row i of `old` and row i of `new` are one item; whatever `Vectors.update` takes.

        `DataError` for unequal numbers of rows or another dimension, and then nothing is added.
        """
        d, n, missing = self.dimension, 0, 0
        sums, cross, squares = np.zeros((2, d)), np.zeros((d, d)), np.zeros(2)
        for a, b in paired_blocks(old, new, d):
            good = sound(a) & sound(b)
            x, z = a[good].astype(np.float64), b[good].astype(np.float64)
            n, missing = n + len(x), missing + len(good) - len(x)
            sums += x.sum(axis=0), z.sum(axis=0)
            cross += x.T @ z
            squares += np.vdot(x, x), np.vdot(z, z)
        added = self._with(n=n, missing=missing, old=sums[0], new=sums[1], cross=cross, squares=squares)
        return self._combine(added, 1)

    def _combine(self, other: Self, sign: int) -> Self:
        made = super()._combine(other, sign)
        if made.n < 0 or made.missing < 0:
            raise StateError("what is subtracted is no part of this", got=f"{int(other.n)} of {int(self.n)} pairs",
                             expected="a state merged before")
        if made.n == 0:  # no rounding is left where no pair is
            return type(self).zero(**self._config)._with(missing=made.missing)
        return made._with(squares=np.maximum(made.squares, 0.0))

    def moments(self, *, centred: bool) -> tuple[Array, float, float]:
        """``A = sum x z'`` (d, d), ``sum |x|^2`` and ``sum |z|^2``; about the two means where `centred`."""
        a, b = (float(value) for value in self.squares)
        n = int(self.n)
        if not centred or n == 0:
            return self.cross, a, b
        cross = self.cross - np.outer(self.old, self.new / n)
        return cross, max(a - float(self.old @ self.old) / n, 0.0), max(b - float(self.new @ self.new) / n, 0.0)

    def estimates(self) -> dict[str, Estimate]:
        """The means of every coordinate, the mean squares, the mean product and the size of the cross-moment.

        Without standard errors: the state holds no squares per coordinate.
        """
        n = int(self.n)
        values = {**{f"old:{i}": value for i, value in enumerate(self.old)},
                  **{f"new:{i}": value for i, value in enumerate(self.new)},
                  "old_square": self.squares[0], "new_square": self.squares[1], "product": self.cross.trace(),
                  "cross": np.linalg.norm(self.cross)}
        why = f"none of {int(self.missing)} pairs is sound" if int(self.missing) else "no pairs"
        return {name: Estimate(float(value) / n, n=n, method="mean") if n else Estimate.missing(why, method="mean")
                for name, value in values.items()}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Rows of three dimensions with a mean, in multiples of 1/64, and the same turned by a quarter, in float32."""
        x = (rng.normal(loc=[0.5, 0.0, -0.25], size=(rows, 3)).astype(np.float32) * 64).round() / np.float32(64)
        return x, (x[:, [1, 0, 2]] * np.array([-1, 1, 1], np.float32))


def sound(block: Block) -> NDArray[np.bool_]:
    """Which rows hold real numbers of at most 1e18 alone."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(block) <= LARGEST).all(axis=1))


def paired_blocks(old: Any, new: Any, dimension: int, rows: int = _BLOCK) -> Iterator[tuple[Block, Block]]:
    """The rows of two sources side by side, at most `rows` at a time, however each is cut into pieces.

    >>> [len(a) for a, b in paired_blocks([[1, 2]] * 5, np.ones((5, 2)), 2, rows=2)]
    [2, 2, 1]
    """
    sides = [blocks(old, dimension, rows), blocks(new, dimension, rows)]
    rest: list[Block | None] = [None, None]
    seen = 0
    while True:
        for i, side in enumerate(sides):
            while (left := rest[i]) is None or not len(left):
                rest[i] = next(side, None)
                if rest[i] is None:
                    break
        a, b = rest
        if a is None and b is None:
            return
        if a is None or b is None:
            raise DataError("old and new vectors are not paired", got=f"{'old' if a is None else 'new'} ends first, "
                            f"after {seen} rows", expected="row i of both to be the same item", field="new")
        count = min(len(a), len(b))
        yield a[:count], b[:count]
        seen += count
        rest = [a[count:], b[count:]]
