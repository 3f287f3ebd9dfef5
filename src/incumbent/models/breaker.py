"""A circuit breaker: stop asking a model that fails, and find out by single probes when it is back."""

from __future__ import annotations

from collections import deque
from typing import Literal

BreakerState = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens when at least `failure_rate` of the last `calls` calls failed; half-opens after `cool_down_s`.

    Half-open lets one probe through at a time: a success closes it, a failure opens it again for twice as long
    (at most 16 times `cool_down_s`). Needs `calls` outcomes before it opens at all. Times are monotonic seconds,
    given by the caller. Source: M. Nygard, Release It!, 2nd ed. 2018, chapter 5.

    >>> breaker = Breaker(calls=2, failure_rate=1.0, cool_down_s=5.0)
    >>> for _ in range(2): breaker.record(ok=False, now=0.0)
    >>> breaker.admit(1.0), breaker.admit(5.0), breaker.admit(5.1)
    (False, True, False)
    >>> breaker.record(ok=True, now=5.2); breaker.state
    'closed'
    """

    def __init__(self, *, calls: int, failure_rate: float, cool_down_s: float) -> None:
        self._calls = calls
        self._failure_rate = failure_rate
        self._base_s = cool_down_s
        self._cool_down_s = cool_down_s
        self._outcomes: deque[bool] = deque(maxlen=calls)
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """closed, open, or half_open (open, with a probe on its way)."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._probing else "open"

    @property
    def closed(self) -> bool:
        """Whether calls go through without being asked about one by one."""
        return self._opened_at is None

    def admit(self, now: float) -> bool:
        """May this call go through? Where the answer is yes, `record` or `forget` must follow."""
        if self._opened_at is None:
            return True
        if self._probing or now < self._opened_at + self._cool_down_s:
            return False
        self._probing = True
        return True

    def record(self, *, ok: bool, now: float) -> None:
        """The outcome of an admitted call."""
        if self._opened_at is not None:
            if not self._probing:
                return  # a call from before it opened
            self._probing = False
            if ok:
                self._close()
            else:
                self._opened_at = now
                self._cool_down_s = min(2 * self._cool_down_s, 16 * self._base_s)
            return
        if ok and not self._failures:
            self._outcomes.append(True)
            return
        if len(self._outcomes) == self._calls:
            self._failures -= not self._outcomes[0]
        self._outcomes.append(ok)
        self._failures += not ok
        if len(self._outcomes) == self._calls and self._failures >= self._failure_rate * self._calls:
            self._opened_at = now

    def forget(self) -> None:
        """An admitted call had no outcome (it was never sent)."""
        self._probing = False

    def _close(self) -> None:
        self._opened_at = None
        self._cool_down_s = self._base_s
        self._outcomes.clear()
        self._failures = 0
