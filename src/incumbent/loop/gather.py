"""gather: everything that a rule may look at, read from Lake and Control, as one Evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from incumbent.config import ExperimentConfig
from incumbent.experiments import analysis, guardrails, validity
from incumbent.experiments.analysis import Look, Point, Units
from incumbent.experiments.evidence import Evidence, Preference, Reading
from incumbent.experiments.experiment import DECISIVE, definition_of, share_of
from incumbent.loop import audit_book, keys
from incumbent.stats.buckets import Buckets
from incumbent.stores.store import Control, ExperimentRow, Lake, StateRow


class Gathered(Struct, frozen=True):
    """The evidence of one look, and what the page shows beside it but no rule reads."""

    evidence: Evidence
    series: list[Point]  # the comparison after each maturity day
    as_now: Preference | None  # with late events let in; None where nothing was restated


def gather(lake: Lake, control: Control, row: ExperimentRow, now: datetime) -> Gathered:
    """The evidence of one experiment at `now`. Reads sealed units only; keeps the audit's book up to date."""
    config = definition_of(row.definition)
    look = Look.of(config)
    judged = control.matured(row.name)
    units = Units.of(judged)
    book = audit_book.bring_up(lake, control, row.name, row.started_at)
    tally = book.tally
    evidence = Evidence(
        experiment=row.name, stage=row.stage, held=row.held, started_at=row.started_at, since=row.since,
        definition=row.definition, matured=len(units.interleaved.x), preference=analysis.compare(units, look),
        decisive=analysis.compare(units.first_in(DECISIVE), look), guardrails=readings(control, row, config),
        checks=validity.checks(tally, book.users, config), overlap=validity.overlap_of(tally),
        seals=tuple(seal.hash for seal in control.seals(row.name)))
    restated = control.restated(row.name)
    as_now = analysis.compare(analysis.as_now(judged, restated), look) if restated else None
    return Gathered(evidence, analysis.series(units, look), as_now)


def readings(control: Control, row: ExperimentRow, config: ExperimentConfig) -> tuple[Reading, ...]:
    """Every configured guardrail in the experiment's present stage.

    Metrics of the lane come from this stage alone. Those of the model are paired by request, whoever saw the answer,
    so that no share is in them: they are pooled over stages and lanes.
    """
    if not config.guardrails:
        return ()
    lanes = _states(control.range(f"guardrail/{row.name}/stage={row.stage}/"), "lane")
    models = _states(control.range(f"model/{row.name}/"), "role")
    alpha = config.alpha / len(config.guardrails)
    share = share_of(config, row.stage)
    return tuple(
        guardrails.read(part, lanes if guardrails.SOURCES[part.metric].scope == "lane" else models,
                        stage=row.stage, share=share, alpha=alpha)
        for part in config.guardrails)


def _states(rows: Iterable[StateRow], by: str) -> Mapping[str, Buckets]:
    """The shards of each value of one part of the key, added up."""
    out: dict[str, Buckets] = {}
    for row in rows:
        part = keys.parts(row.key)[by]
        state = Buckets.from_bytes(row.data)
        out[part] = out[part].merge(state) if part in out else state
    return out
