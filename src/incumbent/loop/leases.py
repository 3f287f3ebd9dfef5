"""Holding a lease through a run of steps: renewed between them, given back at the end."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from incumbent.clock import Clock
from incumbent.stores.store import Control, Lease


class Held:
    """A lease as a context manager; `renew` says, each time, whether it is still (or again) ours.

    >>> from incumbent.clock import EPOCH, ManualClock
    >>> from incumbent.stores.memory_control import MemoryControl
    >>> control, clock = MemoryControl(), ManualClock(EPOCH)
    >>> with Held(control, clock, "attribute", "a", 30) as mine, Held(control, clock, "attribute", "b", 30) as other:
    ...     mine.renew(), other.renew()
    (True, False)
    """

    def __init__(self, control: Control, clock: Clock, name: str, holder: str, lease_s: float) -> None:
        self._control, self._clock = control, clock
        self._name, self._holder, self._lease_s = name, holder, lease_s
        self._lease: Lease | None = None

    def renew(self) -> bool:
        """Take or prolong the lease; False while somebody else holds it."""
        self._lease = self._control.acquire(self._name, self._holder, self._lease_s, self._clock.now())
        return self._lease is not None

    @property
    def token(self) -> int | None:
        """It grows with each holder: another one than before says that somebody else had the lease meanwhile."""
        return None if self._lease is None else self._lease.token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:  # noqa: E501
        if self._lease is not None:
            self._control.give_back(self._lease)
