"""ArrayState: the base on which a State is a few lines. Declare arrays, give `zero`, `update` and `_combine`.

Bytes: ``IS`` and one format byte, the length of the header (uint32), the header (JSON: name, version, configuration,
arrays as [name, dtype, shape] in declared order), then the arrays, C order, little-endian. No pickle anywhere.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError, shorten
from incumbent.stats.estimate import Estimate

_MAGIC = b"IS\x01"
_Layout = tuple[str, np.dtype[Any], tuple[int, ...], int]  # of an array: its name, dtype, shape and size
_KNOWN_BYTES = 4_096  # longer headers are read each time: they hold frames, which have a cache of their own
_DTYPE = re.compile(r"[<|][iufb][1248]").fullmatch  # as arrays are declared: no other text reaches numpy


class ArrayState:
    """An immutable State whose whole content is its configuration and the arrays that it declares.

    A subclass sets `name`, `version`, `tags` and `arrays` (attribute -> little-endian dtype), and defines
    `zero(**config)`, `empty`, `update`, `estimates`, and `_combine(other, sign)`: the sum (`sign` 1), or the difference
    (-1) where its tags say ``subtract``. Configuration hash, bytes, equality and refusals are here. For the contract
    suite it gives `example_configs` and `example_batch` (docs/measure/states.md).
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    tags: ClassVar[frozenset[str]] = frozenset()
    arrays: ClassVar[Mapping[str, str]]
    example_configs: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    _config: Mapping[str, Any]

    def __init__(self, config: Mapping[str, Any], **arrays: ArrayLike) -> None:
        object.__setattr__(self, "_config", config)
        for key, dtype in self.arrays.items():
            array = np.array(arrays.pop(key), dtype=dtype, order="C")
            array.flags.writeable = False
            object.__setattr__(self, key, array)
        if arrays:
            raise TypeError(f"{type(self).__name__} declares no array {sorted(arrays)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    @classmethod
    def zero(cls, **config: Any) -> Self:
        """The empty state of a configuration."""
        raise NotImplementedError

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return copy.deepcopy(dict(self._config))

    @property
    def config_hash(self) -> str:
        """16 hex digits over name, version and configuration."""
        text = _dumps([self.name, self.version, self._config])
        return hashlib.blake2b(text, digest_size=8).hexdigest()

    @property
    def empty(self) -> bool:
        """True where nothing was seen."""
        raise NotImplementedError

    def estimates(self) -> dict[str, Estimate]:
        """Everything that this state can say by itself, by name; all missing where it is empty."""
        raise NotImplementedError

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Arguments of `update` for `rows` rows, each indexed by row first; they suit every example configuration."""
        raise NotImplementedError

    def _with(self, **arrays: ArrayLike) -> Self:
        """This configuration with other arrays; those not named stay."""
        return type(self)(self._config, **{key: arrays.get(key, getattr(self, key)) for key in self.arrays})

    def _combine(self, other: Self, sign: int) -> Self:
        """The sum or difference; by default every array is additive."""
        return self._with(**{key: getattr(self, key) + sign * getattr(other, key) for key in self.arrays})

    def merge(self, other: Self) -> Self:
        """The state of both data together; `StateError` where class, version or configuration differ."""
        self._same(other)
        return self._combine(other, 1)

    @classmethod
    def merged(cls, states: Sequence[Self]) -> Self:
        """All states merged, equal to one after the other; `DataError` of none."""
        if not states:
            raise DataError("no states to merge", got=0, expected="one or more")
        for state in states:
            states[0]._same(state)
        return states[0] if len(states) == 1 else cls._together(states)

    @classmethod
    def _together(cls, states: Sequence[Self]) -> Self:
        """The sum of several states of one configuration; a subclass may know a faster way than a chain."""
        return reduce(lambda one, other: one._combine(other, 1), states)

    def subtract(self, other: Self) -> Self:
        """The state of the data that are in this one and not in `other`, which must be a part of it."""
        if "subtract" not in self.tags:
            raise StateError("this state cannot subtract", got=self.name, expected="a state tagged 'subtract'")
        self._same(other)
        return self._combine(other, -1)

    def _same(self, other: object) -> None:
        if type(other) is not type(self):
            raise StateError("states of different classes do not add", got=type(other).__name__,
                             expected=type(self).__name__)
        if other._config is not self._config and other._config != self._config and (
                other.config_hash != self.config_hash):  # most states of a sum have one configuration: compare it first
            raise StateError("states of different configurations do not add", got=other.config,
                             expected=shorten(self.config), hint="rebuild one of them with the other's configuration")

    def to_bytes(self) -> bytes:
        """A stable, versioned, little-endian form; equal states have equal bytes."""
        values = list(self._arrays().values())
        header = _dumps({"name": self.name, "version": self.version, "config": self._config, "arrays": [
            [key, dtype, list(value.shape)] for (key, dtype), value in zip(self.arrays.items(), values, strict=True)]})
        return b"".join([_MAGIC, struct.pack("<I", len(header)), header, *(value.tobytes() for value in values)])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The declared arrays; a state that works on something faster (a dict of keys) makes them here."""
        return {key: getattr(self, key) for key in self.arrays}

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state back, of this or any earlier version; `StateError` for anything else."""
        try:
            if data[:3] != _MAGIC:
                raise ValueError("it does not begin with the mark of a state")
            (length,) = struct.unpack_from("<I", data, 3)
            head = bytes(data[7:7 + length])
            read: Any = _read if len(head) <= _KNOWN_BYTES else _read.__wrapped__
            layout, version, config, empty = read(cls, head)
            arrays = _arrays_of(data, 7 + length, layout)
            if version != cls.version:
                config, arrays = cls._upgrade(version, copy.deepcopy(config), arrays)
            if empty is None:
                empty = cls.zero(**config)
            made: Self = empty._with(**arrays)._checked(empty)
            return made
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, struct.error, DataError) as error:
            raise StateError("bytes are not a state", got=data[:24], expected=cls.name, hint=str(error)) from None

    @classmethod
    def _upgrade(
        cls, version: int, config: dict[str, Any], arrays: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Configuration and arrays of an earlier byte version in today's terms."""
        return config, arrays

    def _checked(self, empty: Self) -> Self:
        """This state, after a look at what `from_bytes` read: shapes must be those of the `empty` one."""
        for key in self.arrays:
            if getattr(self, key).shape != getattr(empty, key).shape:
                raise StateError("array has the wrong shape", got=getattr(self, key).shape,
                                 expected=str(getattr(empty, key).shape), field=key)
        return self

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self._config.items())
        return f"<{type(self).__name__}({settings}){' empty' if self.empty else ''}>"


def _dumps(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


@lru_cache(maxsize=1_024)
def _read(cls: type[ArrayState], head: bytes) -> tuple[list[_Layout], int, dict[str, Any], Any]:
    """A header taken apart: the layout of its arrays, its version and configuration, and the empty state where it
    is small and the version today's. States of a store are many and their headers few."""
    header = json.loads(head)
    if header["name"] != cls.name:
        raise StateError("bytes of another state", got=header["name"], expected=cls.name)
    if not 1 <= header["version"] <= cls.version:
        raise StateError("bytes of an unknown version", got=header["version"], expected=f"1 to {cls.version}",
                         hint="written by a newer incumbent")
    layout = []
    for key, dtype, shape in header["arrays"]:
        if _DTYPE(dtype) is None or min(shape, default=0) < 0:
            raise ValueError(f"array {key} is of no kind that a state holds")
        layout.append((key, np.dtype(dtype), tuple(shape), math.prod(shape)))
    small = sum(dtype.itemsize * count for _, dtype, _, count in layout) <= _KNOWN_BYTES
    empty = cls.zero(**header["config"]) if small and header["version"] == cls.version else None
    return layout, header["version"], header["config"], empty


def _arrays_of(data: bytes, at: int, layout: list[_Layout]) -> dict[str, NDArray[Any]]:
    arrays = {}
    for key, dtype, shape, count in layout:
        arrays[key] = np.frombuffer(data, dtype, count, at).reshape(shape)
        at += count * dtype.itemsize
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes follow the last array")
    return arrays
