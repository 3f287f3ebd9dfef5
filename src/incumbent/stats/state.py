"""State: a value that adds. What every measurement of incumbent is stored as.

Laws (checked by `incumbent.testing.checks.states` over every registered class):
zero is the identity; merging is associative and commutative; a split equals the whole; configuration is part of the
value and merging different configurations raises; bytes round-trip and are stable; empty is missing, never 0.

Most states are an `ArrayState` (``incumbent.stats.array_state``), which leaves `zero`, `update` and the sum to write.
docs/measure/states.md tells how to write one and how to check it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self, runtime_checkable


@runtime_checkable
class State(Protocol):
    """An immutable, additive summary of data.

    Class attributes tell the contract suite what it may ask for: `name` (the registered name), `version` (of the
    byte format), `tags` (``subtract``: a group; ``exact``: equal to the bit however sharded; ``shift``: the variance
    survives a shift by 1e9).
    """

    name: ClassVar[str]
    version: ClassVar[int]
    tags: ClassVar[frozenset[str]]

    @classmethod
    def zero(cls, **config: Any) -> Self:
        """The empty state of a configuration."""
        ...

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        ...

    @property
    def config_hash(self) -> str:
        """16 hex digits over name, version and configuration."""
        ...

    @property
    def empty(self) -> bool:
        """True where nothing was seen: then every estimate of it is missing, with the reason."""
        ...

    def update(self, *args: Any, **kwargs: Any) -> Self:
        """This state with a batch of data added."""
        ...

    def merge(self, other: Self) -> Self:
        """The state of both data together; `StateError` where the configurations differ."""
        ...

    def to_bytes(self) -> bytes:
        """A stable, versioned form."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state back, of this or any earlier byte format."""
        ...
