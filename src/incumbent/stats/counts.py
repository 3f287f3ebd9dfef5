"""Counts: how often each key was seen. Integers, equal to the bit however the data were sharded."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate


class Counts(ArrayState):
    """Key -> count, with the rest in `other` where the keys are bounded, and None counted in `missing`.

    Three kinds, by configuration. Neither: every key is kept. ``keys=[...]``: a frozen vocabulary, as a baseline gives
    it; every other key counts as `other`; subtracts. ``budget=b``: at most b keys are kept, those whose BLAKE2b hashes
    are smallest among all keys seen; the rest is `other`. Kept counts are exact and do not depend on order or sharding,
    but the kept keys are a random sample, *not* the most frequent; once over its budget such a state cannot be
    subtracted from (`StateError`).

    >>> c = Counts.zero().update(["a", "b", "a", None])
    >>> c.counts, int(c.missing), c.share("a").value
    ({'a': 2, 'b': 1}, 1, 0.6666666666666666)
    """

    name = "counts"
    version = 1
    tags = frozenset({"subtract", "exact"})
    arrays: ClassVar[dict[str, str]] = {
        "text": "|u1", "lengths": "<i8", "values": "<i8", "other": "<i8", "missing": "<i8"}
    example_configs = ({}, {"keys": ["a", "b", "e"]}, {"keys": ["a"]}, {"budget": 100})
    other: NDArray[np.int64]
    missing: NDArray[np.int64]
    _table: dict[str, int]

    def __init__(
        self, config: Mapping[str, Any], *, table: Mapping[str, int] | None = None, **arrays: ArrayLike
    ) -> None:
        if table is None:
            table = _unpack(*(np.asarray(arrays.pop(key)) for key in ("text", "lengths", "values")))
        object.__setattr__(self, "_config", config)
        object.__setattr__(self, "_table", dict(table))
        for key in ("other", "missing"):
            array = np.array(arrays[key], dtype="<i8")
            array.flags.writeable = False
            object.__setattr__(self, key, array)

    @classmethod
    def zero(cls, *, keys: Sequence[str] | None = None, budget: int | None = None, **unknown: Any) -> Self:
        """Nothing counted yet; `keys` and `budget` exclude one another."""
        if unknown or (keys is not None and budget is not None):
            raise DataError("settings of counts", got=sorted(unknown) or (keys, budget), expected="keys or budget")
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
            raise DataError("budget must be a whole number of at least 1", got=budget, field="budget")
        if keys is not None and (isinstance(keys, str) or not all(isinstance(key, str) for key in keys)):
            raise DataError("keys must be a list of text", got=keys, field="keys")
        frozen = None if keys is None else sorted(set(keys))
        return cls({"keys": frozen, "budget": budget}, table={}, other=0, missing=0)

    @property
    def counts(self) -> dict[str, int]:
        """Key -> count of the kept keys, in the order of the keys; no key has 0."""
        return dict(sorted(self._table.items()))

    @property
    def total(self) -> int:
        """Everything counted, `other` included, `missing` not."""
        return sum(self._table.values()) + int(self.other)

    @property
    def empty(self) -> bool:
        """True where nothing was counted, not even a missing key."""
        return self.total == 0 and int(self.missing) == 0

    def update(self, keys: Iterable[str | None], counts: Iterable[int] | None = None) -> Self:
        """Count keys, once each, or `counts` times each; None counts as missing, other types are a `DataError`."""
        if isinstance(keys, str):
            raise DataError("keys must be a list of text", got=keys, hint="put it in a list")
        added: Counter[str | None] = Counter()
        if counts is None:
            added.update(keys)
        else:
            for key, count in zip(keys, counts, strict=True):
                if count < 0 or int(count) != count:
                    raise DataError("counts must be whole and not negative", got=count, field="counts")
                added[key] += int(count)
        missing = added.pop(None, 0)
        wrong = next((key for key in added if not isinstance(key, str)), None)
        if wrong is not None:
            raise DataError("keys must be text or None", got=wrong, field="keys", hint="str(key)")
        vocabulary = self._config["keys"]
        table: dict[str, int] = {str(key): count for key, count in added.items() if count}
        other = 0
        if vocabulary is not None:
            known = set(vocabulary)
            other = sum(count for key, count in table.items() if key not in known)
            table = {key: count for key, count in table.items() if key in known}
        return self._combine(type(self)(self._config, table=table, other=other, missing=missing), 1)

    def _combine(self, other: Self, sign: int) -> Self:
        if sign < 0 and self._config["budget"] is not None and int(self.other):
            raise StateError("counts over their budget cannot be subtracted from", got=self._config["budget"],
                             hint="raise the budget, or freeze the keys")
        table = dict(self._table)
        for key, count in other._table.items():
            table[key] = table.get(key, 0) + sign * count
        rest, missing = int(self.other) + sign * int(other.other), int(self.missing) + sign * int(other.missing)
        if min(rest, missing, min(table.values(), default=0)) < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        table = {key: count for key, count in table.items() if count}
        table, evicted = _within(table, self._config["budget"])
        return type(self)(self._config, table=table, other=rest + evicted, missing=missing)

    def _with(self, **arrays: ArrayLike) -> Self:
        return type(self)(self._config, table=None, **arrays)

    def _checked(self, empty: Self) -> Self:
        return self

    def _arrays(self) -> dict[str, NDArray[Any]]:
        counts = self.counts
        texts = [key.encode("utf-8", "surrogatepass") for key in counts]
        return {"text": np.frombuffer(b"".join(texts), "|u1"),
                "lengths": np.array([len(text) for text in texts], "<i8"),
                "values": np.array(list(counts.values()), "<i8"), "other": self.other, "missing": self.missing}

    def estimates(self) -> dict[str, Estimate]:
        """The share of `other`, and of every kept key (of the vocabulary, where it is frozen)."""
        shares = {f"key:{key}": self.share(key) for key in self._config["keys"] or self.counts}
        return {"other": proportion(int(self.other), self.total), **shares}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Skewed keys, with an empty and a non-ASCII one, and None."""
        keys = ["a", "b", "c", "d", "", "ü\0", None]
        return ([keys[i] for i in rng.integers(0, 7, rows) * rng.integers(0, 2, rows)],)

    def share(self, key: str, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The key's part of everything counted, with the Clopper-Pearson interval of independent rows.

        Missing where nothing was counted, and for a key whose count may stand in `other`.
        """
        count = self._table.get(key)
        if count is None and int(self.other) and key not in (self._config["keys"] or ()):
            return Estimate.missing("the key may stand under other", n=self.total, method="Clopper-Pearson", unit=unit)
        return proportion(count or 0, self.total, alpha=alpha, unit=unit)


def _within(table: dict[str, int], budget: int | None) -> tuple[dict[str, int], int]:
    """The keys of smallest hash within the budget, and the count of the rest.

    A key among the b smallest of all keys is among the b smallest of every shard that saw it, so it was never evicted.
    """
    if budget is None or len(table) <= budget:
        return table, 0
    order = sorted(table, key=lambda key: (hashlib.blake2b(
        key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), key))
    kept = {key: table[key] for key in order[:budget]}
    return kept, sum(table.values()) - sum(kept.values())


def _unpack(text: NDArray[Any], lengths: NDArray[Any], values: NDArray[Any]) -> dict[str, int]:
    raw, at, keys = text.astype("|u1").tobytes(), 0, []
    for length in lengths.tolist():
        keys.append(raw[at:at + length].decode("utf-8", "surrogatepass"))
        at += length
    if at != len(raw) or len(keys) != len(values):
        raise StateError("keys and counts do not fit together", got=(at, len(raw)), expected="equal lengths")
    return dict(zip(keys, values.tolist(), strict=True))
