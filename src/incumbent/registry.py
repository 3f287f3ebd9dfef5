"""Names to implementations, found through entry points; the built-ins register the same way."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from incumbent.errors import NotFoundError, near

#: kind -> what a plugin of that kind is; the entry-point group is ``incumbent.KIND``.
KINDS = {
    "states": "incumbent.stats.state.State classes",
    "policies": "incumbent.experiments.policy.Policy factories",
    "credits": "incumbent.experiments.credit.Credit kernels",
    "rules": "incumbent.experiments.rules.Rule factories",
    "detectors": "incumbent.drift.detector.Detector factories",
    "models": "incumbent.models.recommender.Recommender factories",
    "metrics": "incumbent.metrics.metric.Metric factories",
    "scorers": "incumbent.metrics.scorer.Scorer factories (checks of generated text)",
    "stores": "store bundles (log, lake, control)",
    "checks": "contract suites callable as `incumbent check NAME`",
    "sinks": "alert sinks",
}


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"incumbent.{kind}")}


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted.

    >>> "moments" in names("states")
    True
    """
    return sorted(_points(kind))


def load(kind: str, name: str) -> Any:
    """The implementation behind a name; `NotFoundError` names the nearest known one.

    >>> load("states", "moment")
    Traceback (most recent call last):
    ...
    incumbent.errors.NotFoundError: no states plugin of that name. Got 'moment'. Expected one of ... Hint: did you mean 'moments'?
    """  # noqa: E501
    points = _points(kind)
    if name not in points:
        raise NotFoundError(
            f"no {kind} plugin of that name", got=name, expected="one of " + ", ".join(sorted(points)),
            hint=near(name, points) or f"register it in the entry-point group incumbent.{kind}",
        )
    return _loaded(points[name])


@cache
def _loaded(point: EntryPoint) -> Any:
    return point.load()
