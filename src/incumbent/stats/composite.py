"""Composite: named states side by side as one State. It adds, subtracts and travels whole."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from incumbent import registry
from incumbent.errors import DataError, NotFoundError, StateError
from incumbent.stats.estimate import Estimate
from incumbent.stats.state import State

_MAGIC = b"IC\x01"
_EDGES = {"edges": [-1.0, 0.0, 1.0]}


class Composite:
    """Parts by name, each a registered State; what one part cannot do (subtract), the whole cannot.

    The configuration is ``{"parts": {name: {"state": registered name, "config": its configuration}}}``. Bytes: ``IC``
    and one format byte, the length of the header (uint32), the header (JSON: name, version, the length of every part in
    the order of their names), then the parts' own bytes. Missing values are the parts' own affair.

    >>> from incumbent.stats.numeric import Numeric
    >>> zero = Composite.of(price=Numeric.zero(edges=[0.0, 10.0]), score=Numeric.zero(edges=[0.5]))
    >>> day = zero.update(price=[3.0, 12.0, None], score=[0.2, 0.9, 0.7])
    >>> day.part("price").cells.tolist(), day.merge(day).subtract(day) == day
    ([0, 1, 1], True)
    """

    name: ClassVar[str] = "composite"
    version: ClassVar[int] = 1
    tags: ClassVar[frozenset[str]] = frozenset({"subtract"})
    example_configs: ClassVar[tuple[dict[str, Any], ...]] = (
        {"parts": {"a": {"state": "fixed_histogram", "config": _EDGES},
                   "b": {"state": "numeric", "config": _EDGES}}},
        {"parts": {"a": {"state": "fixed_histogram", "config": _EDGES},
                   "b": {"state": "fixed_histogram", "config": _EDGES}}})
    parts: Mapping[str, Any]

    def __init__(self, parts: Mapping[str, State]) -> None:
        object.__setattr__(self, "parts", dict(sorted(parts.items())))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("Composite is immutable")

    @classmethod
    def of(cls, **parts: State) -> Self:
        """The composite of these states, which must be of registered classes; `DataError` of none, and of others."""
        if not parts:
            raise DataError("a composite needs parts", got=0, expected="one or more")
        known = registry.names("states")
        for name, part in parts.items():
            if not isinstance(part, State) or part.name not in known or part.name == cls.name:
                raise DataError("a part must be a registered state", got=part, field=name,
                                expected="one of " + ", ".join(known), hint="a composite holds no composite")
        return cls(parts)

    @classmethod
    def zero(cls, *, parts: Mapping[str, Mapping[str, Any]] | None = None, **unknown: Any) -> Self:
        """Nothing seen yet in these parts."""
        if unknown or not isinstance(parts, Mapping):
            raise DataError("settings of a composite", got=sorted(unknown) or parts, expected="parts")
        try:
            made = {name: registry.load("states", part["state"]).zero(**part["config"]) for name, part in parts.items()}
        except (KeyError, TypeError) as error:
            raise DataError("not the configuration of a composite", got=parts, hint=str(error)) from None
        return cls.of(**made)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {"parts": {name: {"state": part.name, "config": part.config} for name, part in self.parts.items()}}

    @property
    def config_hash(self) -> str:
        """16 hex digits over name, version and the parts' names, classes and hashes."""
        text = json.dumps([self.name, self.version,
                           [[name, part.name, part.config_hash] for name, part in self.parts.items()]])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def empty(self) -> bool:
        """True where every part is empty."""
        return all(part.empty for part in self.parts.values())

    @property
    def n(self) -> int:
        """The rows of the part that has most, by its `n`, or else its `total`."""
        return max(int(getattr(part, "n", getattr(part, "total", 0))) for part in self.parts.values())

    def part(self, name: str) -> Any:
        """One part; `DataError` for a name that is none."""
        if name not in self.parts:
            raise DataError("no such part", got=name, expected="one of " + ", ".join(self.parts))
        return self.parts[name]

    def update(self, *columns: Any, **named: Any) -> Self:
        """Add to each part named: one column, or a tuple of the arguments of its `update`.

        Columns without a name go to the parts in the order of their names. Parts not named stay; no part is touched
        where one of them refuses its rows.
        """
        if len(columns) > len(self.parts):
            raise DataError("more columns than parts", got=len(columns), expected=str(len(self.parts)))
        given = dict(zip(self.parts, columns, strict=False))
        twice = sorted(given.keys() & named.keys())
        if twice:
            raise DataError("a part is given twice", got=twice)
        made = {}
        for name, values in (given | named).items():
            made[name] = self.part(name).update(*(values if isinstance(values, tuple) else (values,)))
        return type(self)({**self.parts, **made})

    def merge(self, other: Self) -> Self:
        """Part by part; `StateError` where names, classes or configurations differ."""
        self._same(other)
        return type(self)({name: part.merge(other.parts[name]) for name, part in self.parts.items()})

    def subtract(self, other: Self) -> Self:
        """Part by part; `StateError` where a part cannot, or holds what was never added."""
        self._same(other)
        return type(self)({name: part.subtract(other.parts[name]) for name, part in self.parts.items()})

    def _same(self, other: object) -> None:
        if type(other) is not type(self) or list(other.parts) != list(self.parts):
            raise StateError("composites of different parts do not add", expected=", ".join(self.parts),
                             got=list(other.parts) if isinstance(other, Composite) else type(other).__name__)

    def to_bytes(self) -> bytes:
        """A stable, versioned form; equal states have equal bytes."""
        parts = {name: part.to_bytes() for name, part in self.parts.items()}
        header = json.dumps({"name": self.name, "version": self.version,
                             "parts": [[name, self.parts[name].name, len(data)] for name, data in parts.items()]},
                            sort_keys=True, separators=(",", ":")).encode()
        return b"".join([_MAGIC, struct.pack("<I", len(header)), header, *parts.values()])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state back; `StateError` for anything else."""
        try:
            if data[:3] != _MAGIC:
                raise ValueError("it does not begin with the mark of a composite")
            (length,) = struct.unpack_from("<I", data, 3)
            header, at, parts = json.loads(data[7:7 + length]), 7 + length, {}
            if not 1 <= header["version"] <= cls.version:
                raise ValueError(f"version {header['version']} was written by a newer incumbent")
            for name, state, size in header["parts"]:
                parts[name] = registry.load("states", state).from_bytes(data[at:at + size])
                at += size
            if at != len(data):
                raise ValueError("bytes follow the last part")
            return cls.of(**parts)
        except (KeyError, TypeError, ValueError, RecursionError, struct.error, DataError, NotFoundError) as error:
            raise StateError("bytes are not a state", got=data[:24], expected=cls.name, hint=str(error)) from None

    def estimates(self) -> dict[str, Estimate]:
        """Everything that the parts can say, as ``part/name``."""
        return {f"{name}/{key}": estimate for name, part in self.parts.items()
                for key, estimate in part.estimates().items()}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Two normal columns."""
        return rng.normal(size=rows).round(1), rng.normal(size=rows).round(1)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"<Composite({', '.join(self.parts)}){' empty' if self.empty else ''}>"
