"""Versions of a space that are no longer served: they leave the budget, and come back to it with their vectors.

Only whether rows came decides, never what they say: a window's alphas are fixed before its values are looked at, and
add up to the budget in every window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from incumbent.clock import EPOCH
from incumbent.events.window import Window
from incumbent.loop.drift import names
from incumbent.loop.drift.baselines import Baseline, StreamAbout
from incumbent.loop.drift.ledger import Ledger
from incumbent.loop.drift.watch import live
from incumbent.stores.store import Control


def of(ledger: Ledger, baseline: Baseline) -> dict[str, str]:
    """The streams of versions that are no longer served -> the stream that came in their place."""
    return ledger.replaced if ledger.baseline == baseline.id else {}


def counted(control: Control, ledger: Ledger, about: Mapping[str, StreamAbout], window: Window, least: int) -> Ledger:
    """The ledger after one more window of vectors.

    A version is replaced once another of its space came in `least` windows in a row (those without either do not count)
    in which it did not; a version that a served model names is not. It is back with its first row.
    """
    unseen, replaced = dict(ledger.unseen), dict(ledger.replaced)
    for family in _families(about):
        came = {name for name in family if any(
            control.range(names.key(name, window.start), Window(window.start, window.end)))}
        for name in family if came else ():
            unseen[name] = 0 if name in came else unseen.get(name, 0) + 1
            if name in came:
                replaced.pop(name, None)
            elif name not in replaced and unseen[name] >= least and names.parts_of(name)[3] not in named(control):
                replaced[name] = _youngest(about, came)
    return msgspec.structs.replace(ledger, unseen=unseen, replaced=replaced)


def over(ledger: Ledger, baseline: Baseline) -> dict[str, str]:
    """The streams that have an open incident and are watched no more -> the one of their space that is."""
    watched, found = live(baseline.about, ledger.replaced), {}
    for name in sorted(baseline.about.keys() - watched.keys()):
        if name in ledger.standings and ledger.standings[name].open is not None:
            family = [one for one in watched if one.rpartition("/")[0] == name.rpartition("/")[0]]
            found[name] = ledger.replaced.get(name) or _youngest(baseline.about, family)
    return found


def served(name: str, last: Mapping[str, datetime], control: Control, span: timedelta) -> bool:
    """Did a vector of a version come within `span` before its space's newest, or does a served model name it? `last`
    holds the time of the last vector of every version that has any; where nothing was looked at yet, all are served."""
    newest = max((at for one, at in last.items() if one.rpartition("/")[0] == name.rpartition("/")[0]), default=EPOCH)
    return not last or last.get(name, EPOCH) >= newest - span or names.parts_of(name)[3] in named(control)


def named(control: Control) -> set[str]:
    """The versions that models in service say they serve."""
    plan = control.plan()
    models = [] if plan is None else [
        plan.models.get(name) for one in plan.surfaces.values()
        for name in (one.champion, one.experiment.candidate if one.experiment else one.champion)]
    return {model.embedding_version for model in models if model is not None and model.embedding_version is not None}


def _youngest(about: Mapping[str, StreamAbout], streams: Iterable[str]) -> str:
    return max(streams, key=lambda one: (about[one].carried_at or EPOCH, one))


def _families(about: Mapping[str, StreamAbout]) -> list[list[str]]:
    """The streams of spaces that have several versions."""
    found: dict[str, list[str]] = {}
    for name, one in about.items():
        if one.kind == "vectors":
            found.setdefault(name.rpartition("/")[0], []).append(name)
    return [family for family in found.values() if len(family) > 1]
