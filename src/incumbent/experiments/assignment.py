"""Assignment: which lane of an experiment a user is in, from a hash of the user and the salt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from incumbent.events.plan import ExperimentPlan
from incumbent.events.schema import Context

#: none: no experiment runs. outside: not in the declared segment, or a declared robot. holdout: the champion alone,
#: for comparison. interleave: both models. rest: in neither, the champion alone.
Lane: TypeAlias = Literal["none", "outside", "holdout", "interleave", "rest"]


def assign(experiment: ExperimentPlan | None, unit: str, context: Context) -> Lane:
    """The lane of a user: ``holdout`` where h < holdout, else ``interleave`` where l < lane_share, else ``rest``.

    h and l are the two big-endian 64-bit halves of ``BLAKE2b-128(salt 0x1f unit, person="lane")``, over 2**64. They are
    independent, so changing `lane_share` moves nobody into or out of the holdout, and raising either only adds users.
    Stage and share are no part of it, and `lane_share` never falls along the ramp: the holdout is the same on every
    rung, and the only step that a user ever takes is from ``rest`` to ``interleave``. `unit` is the id as logged, the
    context is in the impression and `lane_share` in the plan that it names, so that an audit can recompute the lane.

    A user of another segment is ``outside`` whatever the hash says: holdout and lane hold the same kind of users. A
    context key that is missing matches no segment. So is a request whose context declares a robot. A salt of its own
    makes lanes of two experiments independent.

    >>> from incumbent.events.plan import ExperimentPlan
    >>> plan = ExperimentPlan("e1", "new", "e1", "ramp_10", 0.1, segment={"country": ["NO"]})
    >>> [assign(plan, f"u{n}", {"country": "NO"}) for n in range(3)]
    ['interleave', 'interleave', 'interleave']
    >>> assign(plan, "u0", {"country": "SE"}), assign(None, "u0", {})
    ('outside', 'none')
    """
    if experiment is None or experiment.stage == "ended":
        return "none"
    if experiment.bots and declared_bot(experiment.bots, context):
        return "outside"
    if experiment.segment and not in_segment(experiment.segment, context):
        return "outside"
    if experiment.holdout <= 0 and experiment.lane_share >= 1:
        return "interleave"
    holdout, lane = lane_points(experiment.salt, unit)
    if holdout < experiment.holdout:
        return "holdout"
    return "interleave" if lane < experiment.lane_share or experiment.lane_share >= 1 else "rest"


def lane_points(salt: str, unit: str) -> tuple[float, float]:
    """The two uniform numbers (h, l) that decide a user's lane.

    >>> all(0 <= point <= 1 for point in lane_points("e1", "u42"))
    True
    """
    digest = hashlib.blake2b(f"{salt}\x1f{unit}".encode(), digest_size=16, person=b"lane").digest()
    return int.from_bytes(digest[:8], "big") * 2.0**-64, int.from_bytes(digest[8:], "big") * 2.0**-64


def in_segment(segment: Mapping[str, list[str]], context: Context) -> bool:
    """Every declared key is in the context with one of its values; numbers and truth values compare as their text.

    >>> in_segment({"device": ["app"], "members": ["true"]}, {"device": "app", "members": True})
    True
    """
    return all(key in context and _text(context[key]) in values for key, values in segment.items())


def declared_bot(bots: Mapping[str, Sequence[str]], context: Context) -> bool:
    """Whether a value of the context matches one of its key's patterns (``*`` and ``?``, whatever the case).

    >>> bots = {"bot": ["true"], "user_agent": ["*bot/*"]}
    >>> declared_bot(bots, {"bot": True}), declared_bot(bots, {"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"})
    (True, True)
    >>> declared_bot(bots, {"bot": False, "user_agent": "Mozilla/5.0 (Linux; CUBOT X19)"}), declared_bot(bots, {})
    (False, False)
    """
    for key, patterns in bots.items():
        if key in context and (text := _text(context[key])) is not None:
            text = text.lower()
            if any(fnmatchcase(text, pattern.lower()) for pattern in patterns):
                return True
    return False


def _text(value: str | int | float | bool | None) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)
