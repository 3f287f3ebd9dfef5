"""Detector: a window against the windows of a baseline. Its protocol, its reference, and what it concludes.

``step(current, reference, memory) -> (result, memory)`` is pure. Two-sample detectors ignore the memory and give it
back as it was; sequential ones carry it. Memory is None at the start and plain JSON values ever after. The loop makes a
Finding of a Result: status, severity and reason as they stand, `evidence()` as its evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from msgspec import Struct

from incumbent.drift.null import Null, merged, size_of
from incumbent.drift.robust import LARGEST
from incumbent.errors import DataError
from incumbent.events.window import Window

Status = Literal["ok", "drift", "no_data", "invalid"]
Severity = Literal["info", "ticket", "page"]
Memory = Mapping[str, Any] | None


class Component(Struct, frozen=True):
    """One statistic of the current window: its value, and by how many of its own null's standard units it is off."""

    name: str
    score: float
    standardised: float

    @property
    def units(self) -> str:
        """The standard units for a person: a score that was cut has no size, since its null does not vary.

        >>> Component("zeroed", 0.1, 3.14).units, Component("zeroed", 0.1, 1e6).units
        ('+3.1', 'beyond measure')
        """
        return f"{self.standardised:+.1f}" if abs(self.standardised) < LARGEST else "beyond measure"

    @property
    def said(self) -> str:
        """The same as part of a sentence.

        >>> Component("zeroed", 0.1, 3.14).said, Component("zeroed", 0.1, 1e6).said
        ('+3.1 standard units of its own null', 'beyond measure of its own null, which does not vary')
        """
        return f"{self.units} " + ("standard units of its own null" if abs(self.standardised) < LARGEST else
                                   "of its own null, which does not vary")


class Result(Struct, frozen=True, kw_only=True):
    """What a detector says of one window: a status with its reason, the evidence for it, and its explanation.

    `p_value` is never below `resolution`, the least that the baseline's windows can give, unless `extrapolated` names
    the tail that was fitted beyond it. `windows` is the size of the null, `n` of the current window. `components` come
    with the largest first; `statistic` names it. A drift without harm is a ticket, never a page.
    """

    status: Status
    reason: str
    severity: Severity = "info"
    statistic: str | None = None
    score: float | None = None
    p_value: float | None = None
    e_value: float | None = None
    resolution: float | None = None
    extrapolated: str | None = None
    windows: int = 0
    n: int = 0
    components: tuple[Component, ...] = ()

    def evidence(self) -> dict[str, Any]:
        """Plain JSON values, as a Finding keeps them; an infinite e-value is the largest float, since JSON has none."""
        e = None if self.e_value is None else min(self.e_value, 1.7976931348623157e308)
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(self, e_value=e)))
        return plain


def no_data(reason: str, **known: Any) -> Result:
    """The result where nothing can be said: too few rows, too few windows, an excluded day."""
    return Result(status="no_data", reason=reason, **known)


def invalid(reason: str, **known: Any) -> Result:
    """The result where the window does not belong to the baseline: a ticket, and never drift."""
    return Result(status="invalid", severity="ticket", reason=reason, **known)


@dataclass(frozen=True, eq=False)
class BaselineWindow:
    """One window of the baseline: its state, its period where it has one.

    `fitted` says that the state's frame (bins, centroids, directions) was fitted on these very rows: such a window
    stands in what is compared with and not in the null, whose windows must be as new to the frame as the current one.
    """

    state: Any
    period: Window | None = None
    fitted: bool = False


@dataclass(frozen=True, eq=False)
class Reference:
    """A baseline as a detector sees it: matched windows (states that subtract), season key, calibration.

    `null` is the calibration of the detector that will use it, where somebody made it before (`calibrate`); `reason`
    says why there are fewer windows than one might think, or none.

    >>> from incumbent.stats.moments import Moments
    >>> days = [Moments.zero().update([1.0, 2.0, day]) for day in range(3)]
    >>> reference = Reference.of(days)
    >>> int(reference.total.n), int(reference.without(0).total.n), len(reference.hash)
    (9, 6, 16)
    """

    windows: tuple[BaselineWindow, ...]
    key: str = "all"
    null: Null | None = None
    missing: int = 0
    reason: str = ""

    @classmethod
    def of(cls, states: Sequence[Any], *, fitted: int = 0, **more: Any) -> Reference:
        """A reference of bare states, of which the first `fitted` fitted the frame."""
        return cls(tuple(BaselineWindow(state, fitted=i < fitted) for i, state in enumerate(states)), **more)

    @cached_property
    def seen(self) -> tuple[BaselineWindow, ...]:
        """The windows in which anything was seen."""
        return tuple(window for window in self.windows if not window.state.empty)

    @cached_property
    def held(self) -> tuple[Any, ...]:
        """The states that may stand in a null: seen, and not fitted on."""
        return tuple(window.state for window in self.seen if not window.fitted)

    @cached_property
    def total(self) -> Any:
        """All states merged."""
        if not self.seen:
            raise DataError("the baseline has no windows", got=0, expected="one or more", hint=self.reason or None)
        return merged([window.state for window in self.seen])

    @property
    def config_hash(self) -> str | None:
        """The configuration hash of its states; None without any."""
        return self.windows[0].state.config_hash if self.windows else None

    @cached_property
    def hash(self) -> str:
        """16 hex digits over season key, windows and their states."""
        digest = hashlib.blake2b(self.key.encode(), digest_size=8)
        for window in self.windows:
            digest.update(repr((window.period, window.fitted)).encode())
            digest.update(window.state.to_bytes())
        return digest.hexdigest()

    def without(self, *indices: int) -> Reference:
        """The reference without some of its windows, and without a calibration, which they were part of."""
        gone = set(indices)
        return replace(self, windows=tuple(w for i, w in enumerate(self.windows) if i not in gone), null=None)


@runtime_checkable
class Detector(Protocol):
    """A pure judgement of one window against a reference; factories of them register as ``incumbent.detectors``.

    `tags` tell the contract suite what it may ask: ``two_sample`` (ignores memory), ``sequential`` (carries it),
    ``calibrated`` (keeps its alpha on its own example), ``sees`` (finds the drift of its own example).
    """

    name: str
    tags: frozenset[str]
    alpha: float

    @property
    def hash(self) -> str:
        """16 hex digits over name and settings."""
        ...

    def step(self, current: Any, reference: Reference, memory: Memory) -> tuple[Result, Memory]:
        """The conclusion about the current state, and the memory for the next one."""
        ...

    def calibrate(self, reference: Reference, like: int | None = None) -> Reference:
        """The reference with what can be computed before a window comes; any detector also works without.

        `like` is the usual size of a window in rows. `DataError` where the baseline is too small.
        """
        ...

    def least_windows(self) -> int:
        """How many windows a baseline must have for this detector to be able to raise an alarm at its alpha."""
        ...

    def example(self, rng: Any, windows: int, drifted: int = 0) -> list[Any]:
        """States that it can judge, all of one configuration, the last `drifted` of them with a drift in it."""
        ...


def settings_hash(name: str, settings: Mapping[str, Any]) -> str:
    """16 hex digits over a name and plain settings."""
    text = msgspec.json.encode([name, dict(settings)], order="deterministic")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def sound(current: Any, reference: Reference, least: int) -> Result | None:
    """What keeps a window from being judged at all, or None: empty, too small, foreign, or nothing to compare with."""
    n = size_of(current)
    if not reference.seen:
        return no_data("the baseline has no windows" + (f": {reference.reason}" if reference.reason else ""), n=n)
    if current.config_hash != reference.config_hash:
        return invalid(f"the window's configuration {current.config_hash} is not the baseline's "
                       f"{reference.config_hash}: another space, version or bins", n=n)
    if current.empty:
        return no_data("the window is empty", n=n)
    lost = sum(int(np.sum(getattr(current, name, 0))) for name in ("defects", "absent", "missing"))
    if n == 0:
        return invalid(f"all {lost} rows of the window are defective or missing", n=n)
    if n + lost < least:
        return no_data(f"{n + lost} rows are too few, {least} are needed", n=n)
    return None

