"""Distances of what is there: without the components that say how much is missing, where that is judged by itself."""

from __future__ import annotations

from incumbent.drift.null import Measure

MISSING = ("missing", "absent")


def present(distances: Measure) -> Measure:
    """The same distances without `MISSING`.

    >>> present(lambda a, b: {"ks": 0.1, "absent": 3.0})(None, None)
    {'ks': 0.1}
    """

    def measure(current: object, reference: object) -> dict[str, float]:
        return {name: value for name, value in distances(current, reference).items() if name not in MISSING}

    return measure
