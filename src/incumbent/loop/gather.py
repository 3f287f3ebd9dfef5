"""gather: everything that a rule may look at, read from Lake and Control, as one Evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from incumbent.config import ExperimentConfig
from incumbent.events.window import Window
from incumbent.experiments import analysis, guardrails, validity
from incumbent.experiments.analysis import Look, Point, Units
from incumbent.experiments.evidence import Answers, Evidence, Preference, Reading
from incumbent.experiments.experiment import DECISIVE, definition_of, judged_in, share_of
from incumbent.loop import audit_book, keys
from incumbent.stats.buckets import Buckets
from incumbent.stores.store import Control, ExperimentRow, Lake, StateRow


class Gathered(Struct, frozen=True):
    """The evidence of one look, and what the page shows beside it but no rule reads."""

    evidence: Evidence
    series: list[Point]  # the comparison after each maturity day
    as_now: Preference | None  # with late events let in; None where nothing was restated
    led: tuple[list[Point], Preference] | None  # after a promotion the comparison that led to it; else None


def gather(lake: Lake, control: Control, row: ExperimentRow, now: datetime) -> Gathered:
    """The evidence of one experiment at `now`. Reads sealed units only; keeps the audit's book up to date."""
    config = definition_of(row.definition)
    look = Look.of(config)
    judged = control.matured(row.name)
    units = Units.of(judged)
    ours = units.first_in(*judged_in(config, row.stage))
    book = audit_book.bring_up(lake, control, row)
    tally = book.tally
    evidence = Evidence(
        experiment=row.name, stage=row.stage, held=row.held, started_at=row.started_at, since=row.since,
        definition=row.definition, matured=len(units.interleaved.x),
        matured_here=len(units.interleaved.first_in(row.stage).x), preference=analysis.compare(ours, look),
        pooled=analysis.compare(units, look), answers=answers(control, row),
        recent=recent_answers(control, row, now) if share_of(config, row.stage) == 0 else Answers(),
        guardrails=readings(control, row, config, book.assigned(row.stage), now),
        checks=validity.checks(tally, book.groups, config), overlap=validity.overlap_of(tally),
        seals=tuple(seal.hash for seal in control.seals(row.name)))
    restated = control.restated(row.name)
    now_units = analysis.as_now(judged, restated).first_in(*judged_in(config, row.stage)) if restated else None
    as_now = analysis.compare(now_units, look) if now_units is not None else None
    before = units.first_in(DECISIVE) if row.stage == "promoted" else None
    led = (analysis.series(before, look), analysis.compare(before, look)) if before is not None else None
    return Gathered(evidence, analysis.series(ours, look), as_now, led)


def answers(control: Control, row: ExperimentRow) -> Answers:
    """How often both models answered in the present stage."""
    states = _states(control.range(f"model/{row.name}/stage={row.stage}/"), "role")
    return Answers(*_counts(states.get("candidate")), *_counts(states.get("champion")))


def recent_answers(control: Control, row: ExperimentRow, now: datetime) -> Answers:
    """How often the candidate answered on the last day."""
    return Answers(*_counts(_recent(control, f"model/{row.name}/", now)))


def _counts(state: Buckets | None) -> tuple[int, int, int]:
    """Asked, failed, timed out."""
    if state is None:
        return 0, 0, 0
    failed, late = (round(float(state.sums[:, state.variables.index(name)].sum())) for name in ("errors", "timeouts"))
    return int(state.rows.sum()), failed, late


def readings(
    control: Control, row: ExperimentRow, config: ExperimentConfig, assigned: Mapping[str, Buckets], now: datetime,
) -> tuple[Reading, ...]:
    """Every configured guardrail in the experiment's present stage, from the states of this stage alone.

    Metrics of the lane are per user of `assigned` (lane of this stage -> a row per user whom any stage met, as the
    audit's book counts them). Those of the model are paired by request, whoever saw the answer, so that no share is in
    them; hard limits are held against the last day, whatever stage it was.
    """
    alpha, share = config.alpha / max(len(config.guardrails), 1), share_of(config, row.stage)
    here = {measure: _states(control.range(f"{measure}/{row.name}/stage={row.stage}/"),
                             "lane" if measure == "guardrail" else "role")
            for measure in {_measure(part.metric) for part in config.guardrails}}
    out = []
    for part in config.guardrails:
        measure, recent = _measure(part.metric), None
        states = here[measure]
        if measure == "guardrail":
            states = {lane: users.beside(states[lane]) for lane, users in assigned.items() if lane in states}
        elif part.hard_limit is not None:
            recent = _recent(control, f"{measure}/{row.name}/", now)
        out.append(guardrails.read(part, states, stage=row.stage, share=share, alpha=alpha, recent=recent))
    return tuple(out)


def _measure(metric: str) -> str:
    """Under which measure of the keys a metric's states stand."""
    source = guardrails.SOURCES[metric]
    return "guardrail" if source.scope == "lane" else "slow" if source.numerator in keys.SLOW else "model"


def _recent(control: Control, prefix: str, now: datetime) -> Buckets | None:
    """The candidate's state of this UTC day; together with the day before where this one is too young to tell."""
    for days in (0, 1):
        period = Window(now - timedelta(days=days), now + timedelta(microseconds=1))
        found = _states(control.range(prefix, period), "role").get("candidate")
        if found is not None and int(found.rows.sum()) >= guardrails.MIN_REQUESTS:
            return found
    return found


def _states(rows: Iterable[StateRow], by: str) -> dict[str, Buckets]:
    """The shards of each value of one part of the key, added up."""
    out: dict[str, Buckets] = {}
    for row in rows:
        part = keys.parts(row.key)[by]
        state = Buckets.from_bytes(row.data)
        out[part] = out[part].merge(state) if part in out else state
    return out
