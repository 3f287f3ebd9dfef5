"""drift_job: everything that drift does in the loop, one after the other: each stands on the one before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct, structs

from incumbent.clock import Clock
from incumbent.config.sections import DriftConfig
from incumbent.loop import watermark
from incumbent.loop.detect import Detected, Detector
from incumbent.loop.drift.latest_vectors import LatestVectors
from incumbent.loop.drift.space_versions import Checked, SpaceVersions
from incumbent.loop.drift.window_states import Windowed, WindowStates
from incumbent.stores.store import Control, Lake


class Drifted(Struct, frozen=True):
    """What a run did; `stopped` says why not all of it."""

    versions: Checked = Checked()
    windows: Windowed = Windowed()
    detected: Detected = Detected()
    stopped: str | None = None


class DriftJob:
    """Latest vectors, versions, states of windows, judgements. `outcomes` brings the outcomes up to the lake first.

    The watermark is read before anything: what was acknowledged until then is in the lake, so that the states made
    after it are whole up to there.
    """

    def __init__(self, lake: Lake, control: Control, clock: Clock, config: DriftConfig, *,
                 outcomes: Callable[[], Any] = lambda: None, holder: str = "loop", lease_s: float = 30.0) -> None:
        common: dict[str, Any] = {"holder": holder, "lease_s": lease_s}
        self._control, self._config, self._outcomes = control, config, outcomes
        self._latest = LatestVectors(lake, control, clock, **common)
        self._versions = SpaceVersions(lake, control, clock, **common)
        self._windows = WindowStates(lake, control, clock, config, **common)
        self._detector = Detector(lake, control, clock, config, **common)

    def run_once(self) -> Drifted:
        """One round; nothing where drift is turned off."""
        if not self._config.enabled:
            return Drifted()
        until = watermark.low(self._control).until
        self._outcomes()
        kept = self._latest.run_once()
        if kept.stopped:
            return Drifted(Checked(findings=kept.findings), stopped=kept.stopped)
        versions = self._versions.run_once()
        versions = structs.replace(versions, findings=(*kept.findings, *versions.findings))
        windows = self._windows.run_once()
        if windows.stopped:
            return Drifted(versions, windows, stopped=windows.stopped)
        detected = self._detector.run_once(until) if until is not None else Detected()
        return Drifted(versions, windows, detected, versions.stopped or detected.stopped)
