"""The audit: replay a baseline against itself, and put the false alarms that it delivers beside those promised.

Every stretch of the baseline is judged, in order and with memory, against the windows outside it. Leaving out one
window at a time would prove nothing: its rank among the others is uniform by construction. Leaving out a stretch is
what tomorrow is: it shows trends, seasons that the matching misses, and days that resemble their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from incumbent.drift.detector import Detector, Memory, Reference, Result
from incumbent.errors import DataError
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import check_alpha


@dataclass(frozen=True)
class AuditReport:
    """Promised and delivered false alarms per window judged.

    `delivered` has its exact 95 % interval; missing, with the reason, where no window could be judged. `kept` is False
    where the whole interval lies above what was promised, None where nothing was judged. `alarms` are the indices of
    the windows that alarmed, `results` those of all judged windows by index; `unjudged` counts the others.
    """

    detector: str
    promised: float
    delivered: Estimate
    alarms: tuple[int, ...]
    unjudged: int
    results: dict[int, Result]

    @property
    def kept(self) -> bool | None:
        """Is the promise compatible with what was delivered?"""
        return None if self.delivered.low is None else self.delivered.low <= self.promised

    def __str__(self) -> str:
        said = self.delivered
        if said.value is None:
            return f"{self.detector}: promised {self.promised:.3g} a window, delivered unknown: {said.reason}"
        word = "kept" if self.kept else "NOT KEPT"
        return (f"{self.detector}: promised {self.promised:.3g} a window, delivered {said.value:.3g} "
                f"[{said.low:.3g}, {said.high:.3g}] in {said.n} windows: {word}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"detector": self.detector, "promised": self.promised, "delivered": self.delivered.to_dict(),
                "kept": self.kept, "alarms": list(self.alarms), "unjudged": self.unjudged}


def audit(detector: Detector, reference: Reference, *, stretches: int = 4, alpha: float = 0.05) -> AuditReport:
    """Judge every stretch of the baseline against the rest, and count.

    `stretches` contiguous parts of equal length, windows in the order given (by time); windows that fitted the frame
    stand in every reference and are not judged. The detector's own alpha is what is promised; for a detector over time
    that is one alarm in 1 / alpha windows. `alpha` is that of the delivered share's interval, which takes windows for
    independent. `DataError` for fewer than two stretches, or fewer windows than stretches.

    >>> from incumbent.drift.windowed import WindowDetector
    >>> from incumbent.stats.moments import Moments
    >>> gap = lambda a, b: {"gap": abs(a.mean().value - b.mean().value)}
    >>> rng = np.random.default_rng(1)
    >>> trend = [Moments.zero().update(rng.normal(i / 10, 1, 50)) for i in range(60)]
    >>> print(audit(WindowDetector("gap", gap), Reference.of(trend)))
    gap: promised 0.05 a window, delivered 0.483 [0.352, 0.616] in 60 windows: NOT KEPT
    """
    check_alpha(alpha)
    places = [i for i, window in enumerate(reference.windows) if not window.fitted]
    if not 2 <= stretches <= len(places):
        raise DataError("a baseline is audited in two stretches or more, of one window or more", got=stretches,
                        expected=f"2 to {len(places)}", field="stretches")
    results: dict[int, Result] = {}
    for stretch in np.array_split(np.array(places), stretches):
        rest = _calibrated(detector, reference.without(*stretch.tolist()), reference)
        memory: Memory = None
        for i in stretch.tolist():
            results[i], memory = detector.step(reference.windows[i].state, rest, memory)
    judged = {i: result for i, result in results.items() if result.status in ("ok", "drift")}
    alarms = tuple(i for i, result in judged.items() if result.status == "drift")
    delivered = proportion(len(alarms), len(judged), alpha=alpha, unit="alarms/window")
    if not judged:
        reasons = sorted({result.reason for result in results.values()})
        delivered = replace(delivered, reason=reasons[0])
    return AuditReport(detector.name, detector.alpha, delivered, alarms, len(results) - len(judged), judged)


def _calibrated(detector: Detector, rest: Reference, whole: Reference) -> Reference:
    """The calibration of a stretch's reference; without one where it is too small, so that every step says why."""
    sizes = [int(state.n) for state in whole.held]
    try:
        return detector.calibrate(rest, int(np.median(sizes)) if sizes else None)
    except DataError:
        return rest
