"""Evidence: everything that a rule may look at, as one value that a Decision embeds whole."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from incumbent.events.schema import Verdict
from incumbent.stats.estimate import Estimate

CheckStatus: TypeAlias = Literal["ok", "void", "no_data"]
GuardrailStatus: TypeAlias = Literal["ok", "harm", "unclear", "missing"]


class Check(Struct, frozen=True, kw_only=True):
    """What one validity check found. `void`: no verdict may stand on these data; `warning`: they are valid but weak."""

    name: str  # coin_audit, sample_ratio, parity, overlap
    status: CheckStatus
    reason: str
    warning: bool = False
    e_value: float | None = None  # of the sequential test, where the check is one
    p_value: float | None = None  # of the fixed test shown beside it
    n: int = 0
    numbers: dict[str, Any] = {}


class Reading(Struct, frozen=True, kw_only=True):
    """What one guardrail shows in one stage.

    `effect` is on the margin's scale: divided by the share for metrics of the lane, so that a stage with few
    candidate slots is not flattered. `status`: ``harm`` (worse than the margin, proven), ``ok`` (no worse than the
    margin, proven), ``unclear`` (neither yet), ``missing`` (there is nothing to judge from; never ok).
    """

    metric: str
    stage: str
    share: float
    margin: float
    required: bool
    worse: Literal["lower", "higher"]  # which direction is harm
    effect: Estimate
    lane_effect: Estimate  # as measured on the whole lane, before the division by the share
    status: GuardrailStatus
    reason: str
    hard_limit: float | None = None
    level: Estimate = Estimate.missing("no level is judged")  # the candidate's own rate or latency
    over_limit: bool = False


class Preference(Struct, frozen=True, kw_only=True):
    """The paired comparison of the matured units, as `analysis.compare` made it."""

    units: int  # that saw at least one competitive pair
    wins: int
    ties: int
    losses: int
    preference: Estimate  # net preference with its confidence sequence
    preference_fixed: Estimate  # the fixed-sample interval, for a single look only
    delta: Estimate  # credit per competitive pair, candidate minus champion, with its confidence sequence
    delta_fixed: Estimate
    e_value: float | None  # against a net preference of 0
    p_value: float | None  # min(1, 1 / e)
    p_sign: float | None  # exact binomial, fixed sample
    #: (wins - losses) / (wins + losses) with a confidence sequence: how clear the choice is of those who made one
    win_margin: Estimate = Estimate.missing("nobody decided yet")
    delta_ab: float | None  # (wins + ties / 2) / units - 1/2
    pairs: float = 0.0
    uncompared: int = 0  # matured in the lane without a pair
    capped: int = 0  # units whose |D| was winsorised


class Answers(Struct, frozen=True):
    """How often both models were asked in the present stage, whoever saw the answer, and how often in vain."""

    asked: int = 0  # of the candidate
    failed: int = 0  # of those, answers that were not ok, timeouts included
    timed_out: int = 0
    champion_asked: int = 0
    champion_failed: int = 0
    champion_timed_out: int = 0

    @property
    def answered(self) -> int:
        """Requests that the candidate answered."""
        return self.asked - self.failed


class Evidence(Struct, frozen=True, kw_only=True):
    """The whole basis of a verdict. Holds counts, estimates and hashes, no user ids."""

    experiment: str
    stage: str
    held: bool
    started_at: datetime
    since: datetime  # of this stage
    definition: dict[str, Any]  # the experiment's configuration, frozen at its start
    matured: int  # matured units of the interleave lane
    matured_here: int  # of those, the ones first exposed in this stage
    preference: Preference  # over the units that this stage's verdict rests on (`experiment.judged_in`)
    pooled: Preference  # over all of them, whatever stage they were first exposed in
    answers: Answers = Answers()
    recent: Answers = Answers()  # of the last day, in shadow; the champion's are not counted
    guardrails: tuple[Reading, ...] = ()
    checks: tuple[Check, ...] = ()
    overlap: float | None = None  # part of the organic slots on which both models agreed; None = not known
    seals: tuple[str, ...] = ()  # hashes, in order

    @property
    def hash(self) -> str:
        """16 hex digits of BLAKE2b over the content."""
        return hashlib.blake2b(msgspec.msgpack.encode(self, order="sorted"), digest_size=8).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for a Decision to embed; infinite ends of intervals become None."""
        return _plain(msgspec.to_builtins(self))  # type: ignore[no-any-return]


class Judgement(Struct, frozen=True, kw_only=True):
    """What a rule says of an Evidence: the verdict, why in words, and why as a stable code."""

    verdict: Verdict
    cause: str  # void, hard_limit, guardrail, held, worse, futile, better, max_days, gate, ... stable over releases
    reason: str


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value - value != 0:  # infinite or NaN
        return None
    return value
