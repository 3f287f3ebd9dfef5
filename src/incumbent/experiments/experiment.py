"""The life of an experiment: its stages, the share of each, and which step leads where.

``shadow -> canary -> ramp_5 -> ramp_10 -> ramp_25 -> ramp_50 -> promoted -> ended``: a configuration may leave rungs of
the ramp out, never change their order. One draft serves the whole life: the share is 0 in shadow, the rung's share on
the ramp, and ``back_test_share`` (0.95) once promoted, when the candidate fills the uncontested rounds too and the old
champion keeps being compared on the remaining 5 % of contested slots. Champion and candidate keep their *names* in the
plan until the back-test ends, so that credit, lanes and guardrails read the same on both sides of the promotion.

Source: the ramps of Airbnb's and Netflix's interleaving platforms (arXiv 2508.00751).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

from incumbent.config import ExperimentConfig
from incumbent.errors import ConflictError, DataError
from incumbent.events.schema import Stage, Verdict

Step: TypeAlias = Literal["start", "hold", "resume", "promote", "discard", "roll_back"]

RAMP: tuple[Stage, ...] = ("shadow", "canary", "ramp_5", "ramp_10", "ramp_25", "ramp_50")
#: The stages in which nobody, or next to nobody, sees the candidate: identical lists go no further.
CAUTIOUS: frozenset[str] = frozenset({"shadow", "canary"})
#: The stage whose units carry a promotion.
DECISIVE: Stage = "ramp_50"


def definition_of(definition: dict[str, Any]) -> ExperimentConfig:
    """The frozen definition of an experiment as its configuration; `ValidationError` where it is none.

    >>> definition_of({"surface": "home", "candidate": "cf"}).alpha
    0.05
    """
    return ExperimentConfig.model_validate(definition)


def share_of(config: ExperimentConfig, stage: str) -> float:
    """The candidate's part of the contested slots in a stage, in [0, 1]; 0 where the experiment does not serve it.

    >>> config = ExperimentConfig(surface="home", candidate="cf")
    >>> [share_of(config, stage) for stage in ("shadow", "ramp_5", "promoted", "ended")]
    [0.0, 0.05, 0.95, 0.0]
    """
    if stage == "promoted":
        return config.back_test_share
    return next((rung.share for rung in config.stages if rung.stage == stage), 0.0)


def lane_share_of(config: ExperimentConfig, stage: str) -> float:
    """The part of the non-holdout users who are interleaved in a stage, in (0, 1].

    The stage's own, never more than the experiment's, which it also is where the stage says nothing. Once promoted, the
    last rung's. It never falls along the ramp (`Config` sees to it): users only ever move from `rest` to `interleave`.

    >>> config = ExperimentConfig(surface="home", candidate="cf")
    >>> [lane_share_of(config, stage) for stage in ("canary", "ramp_25", "ramp_50", "promoted")]
    [0.05, 0.5, 1.0, 1.0]
    >>> lane_share_of(config.model_copy(update={"lane_share": 0.3}), "promoted")
    0.3
    """
    last = config.stages[-1] if config.stages else None
    rung = next((rung for rung in config.stages if rung.stage == stage), last if stage == "promoted" else None)
    return config.lane_share if rung is None or rung.lane_share is None else min(rung.lane_share, config.lane_share)


def lane_shares(config: ExperimentConfig) -> dict[str, float]:
    """`lane_share_of` every stage that may be served, in order.

    >>> list(lane_shares(ExperimentConfig(surface="home", candidate="cf")).values())
    [0.05, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0]
    """
    return {stage: lane_share_of(config, stage) for stage in (*(rung.stage for rung in config.stages), "promoted")}


def judged_in(config: ExperimentConfig, stage: str) -> tuple[Stage, ...]:
    """The stages of first exposure whose units the preference of a stage rests on; empty where it is all units.

    At ramp_50 those first exposed there, once promoted those first exposed after the promotion. Where nothing is
    promoted, on the rungs below, all that there are. Fixed by the stage alone, never by what units showed.

    >>> config = ExperimentConfig(surface="home", candidate="cf")
    >>> judged_in(config, "ramp_5"), judged_in(config, "ramp_50"), judged_in(config, "promoted")
    ((), ('ramp_50',), ('promoted',))
    """
    return (cast(Stage, stage),) if stage in (DECISIVE, "promoted") else ()


def first_stage(config: ExperimentConfig) -> Stage:
    """Where an experiment starts."""
    return config.stages[0].stage


def next_stage(config: ExperimentConfig, stage: str) -> Stage | None:
    """The rung above, None on the top one and off the ramp.

    >>> config = ExperimentConfig(surface="home", candidate="cf")
    >>> next_stage(config, "ramp_25"), next_stage(config, "ramp_50"), next_stage(config, "promoted")
    ('ramp_50', None, None)
    """
    rungs: list[Stage] = [rung.stage for rung in config.stages]
    at = rungs.index(stage) if stage in rungs else len(rungs)
    return rungs[at + 1] if at + 1 < len(rungs) else None


def steps(stage: str | None, *, held: bool = False) -> tuple[Step, ...]:
    """What a person may do with an experiment in this stage (None = it has not started).

    >>> steps(None), steps("ended")
    (('start',), ())
    >>> steps("canary", held=True)
    ('resume', 'promote', 'discard', 'roll_back')
    >>> steps("shadow"), steps("promoted")
    (('hold', 'discard', 'roll_back'), ('hold', 'promote', 'roll_back'))
    """
    if stage is None:
        return ("start",)
    if stage == "ended":
        return ()
    pause: Step = "resume" if held else "hold"
    if stage == "shadow":
        return (pause, "discard", "roll_back")
    if stage == "promoted":
        return (pause, "promote", "roll_back")
    return (pause, "promote", "discard", "roll_back")


def require(step: Step, name: str, stage: str | None, *, held: bool = False) -> None:
    """Raise `ConflictError`, naming what is allowed, unless the step may be taken."""
    allowed = steps(stage, held=held)
    if step in allowed:
        return
    state = "not started" if stage is None else f"{stage}, held" if held else stage
    hint = "an experiment runs once: configure a new name for another run" if stage == "ended" else None
    raise ConflictError(f"experiment {name!r} is {state}: it cannot {step.replace('_', ' ')}", got=step,
                        expected="one of " + ", ".join(allowed) if allowed else "no further step", hint=hint)


def after(config: ExperimentConfig, stage: str, verdict: Verdict) -> Stage:
    """The stage that a verdict leads to.

    ADVANCE climbs one rung; PROMOTE leads to the back-test, and out of it to the end, where the candidate is the
    champion for good; DISCARD, ROLL BACK and INCONCLUSIVE end; HOLD and START stay. `DataError` for a climb from the
    top.

    >>> config = ExperimentConfig(surface="home", candidate="cf")
    >>> [after(config, "ramp_50", verdict) for verdict in ("promote", "roll_back", "hold")]
    ['promoted', 'ended', 'ramp_50']
    >>> after(config, "promoted", "promote")
    'ended'
    """
    if verdict == "advance":
        above = next_stage(config, stage)
        if above is None:
            raise DataError("there is no rung above this one", got=stage, field="stage")
        return above
    if verdict == "promote":
        return "ended" if stage == "promoted" else "promoted"
    if verdict in ("discard", "roll_back", "inconclusive"):
        return "ended"
    return cast(Stage, stage)
