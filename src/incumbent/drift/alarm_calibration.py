"""The alarm of calibration: is a score still worth what it was, in clicks, and at equal score and position?"""

from __future__ import annotations

import math
from typing import Any

from incumbent.drift.concept import click_odds
from incumbent.drift.windowed import WindowDetector
from incumbent.stats.reliability import Reliability

GROWTH = {"observed_expected": (0.5, 0.0), "click_odds": (0.5, 0.0)}


def distances(current: Reliability, reference: Reliability) -> dict[str, float]:
    """The logarithms, without sign, of the ratio of the two ratios of observed over expected, and of the odds of a
    click at equal score and position (`concept.click_odds`); 0 where neither side can say.

    >>> zero = Reliability.zero(edges=[0.5])
    >>> before = zero.update([0.2] * 100 + [0.8] * 100, [1] * 20 + [0] * 80 + [1] * 80 + [0] * 20)
    >>> after = zero.update([0.2] * 100 + [0.8] * 100, [1] * 10 + [0] * 90 + [1] * 40 + [0] * 60)
    >>> round(distances(after, before)["observed_expected"], 3), distances(before, before)["click_odds"]
    (0.693, 0.0)
    """
    sides = [state.observed_expected().value for state in (current, reference)]
    ratio = sides[0] / sides[1] if sides[0] and sides[1] else 1.0
    return {"observed_expected": abs(math.log(ratio)),
            "click_odds": abs(math.log(click_odds(current, reference).value or 1.0))}


def calibration(*, alpha: float = 0.05, **settings: Any) -> WindowDetector:
    """The detector of calibration on `Reliability` states: settings are those of `WindowDetector`.

    >>> calibration().name, calibration().least_windows()
    ('calibration', 19)
    """
    return WindowDetector("calibration", distances, alpha=alpha, growth=GROWTH, **settings)
