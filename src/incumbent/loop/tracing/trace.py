"""trace: what happened to one request or one shopper, read back from the lake's rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pyarrow.compute as pc

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.errors import DataError, NotFoundError
from incumbent.events.ids import id_time
from incumbent.events.window import Window
from incumbent.loop.generated import states as text_states
from incumbent.loop.shoppers import excluded_by
from incumbent.loop.tracing import credit as trace_credit
from incumbent.loop.tracing import told as trace_told
from incumbent.loop.tracing import why as trace_why
from incumbent.stores.columns import from_arrow
from incumbent.stores.store import Control, Lake

SLACK = timedelta(minutes=5)  # between an id's millisecond and the time in its impression
AFTER = timedelta(days=90)  # how far behind a request its events are looked for
ROWS = 200  # of each kind, newest first


def trace_request(lake: Lake, control: Control, request_id: str, config: Config | None = None) -> dict[str, Any]:
    """One request: its impression with both lists, coins and slots, the plan that made it, why every slot is whose it
    is, recomputed, what followed, what every rule of credit makes of that, and the findings that touch it.

    `NotFoundError` where the lake does not hold it: it may wait in an inbox for the next sealing.
    """
    event_id = request_id.partition(".")[0]
    try:
        at = id_time(event_id)
    except ValueError:
        raise DataError("not a request id", got=request_id, expected="the request_id of an answer",
                        field="request_id") from None
    rows = lake.scan("impression", Window(at - SLACK, at + SLACK))
    rows = rows.filter(pc.equal(rows["event_id"], event_id))
    if not rows.num_rows:
        raise NotFoundError("no such request in the lake", got=request_id, field="request_id",
                            hint="what was just served is sealed within [loop] seal_s")
    [impression] = from_arrow("impression", rows)[:1]
    after = Window(impression.time - SLACK, impression.time + AFTER)
    feedback = lake.scan("feedback", after, users=[impression.user_id])
    outcomes = lake.scan("outcome", after, users=[impression.user_id])
    plan = control.plan(impression.plan)
    return {
        "request": msgspec.to_builtins(impression),
        "plan": None if plan is None else {"version": plan.version, "hash": plan.hash,
                                           "surface": msgspec.to_builtins(plan.surfaces.get(impression.surface))},
        "events": [msgspec.to_builtins(event) for event in from_arrow(
            "feedback", feedback.filter(pc.equal(feedback["request_id"], impression.request_id)))],
        "outcomes": _rows(outcomes.filter(pc.equal(outcomes["request_id"], impression.request_id))),
        "why": trace_why.why(control, impression),
        "credit": trace_credit.by_rule(lake, control, impression),
        "experiment": trace_why.experiment_now(control, impression.experiment),
        "findings": trace_why.touching(control, trace_why.subjects_of(impression), impression.time, impression.time),
        "texts": [{"role": model.role, "found": text_states.checked(lake, model.generated, model.items, config)}
                  for model in impression.models if model.generated is not None],
    }


def trace_user(lake: Lake, user_id: str, clock: Clock, *, days: int = 90,
               control: Control | None = None) -> dict[str, Any]:
    """A shopper (id as logged): their newest requests, events and credited outcomes, at most `ROWS` of each; and from
    `control` what they excluded, which experiments they were in, as they matured, and the findings on those.

    ``since`` is how far back was looked, ``first`` the first that is known of them. ``told`` says each act in a
    sentence. A user of whom nothing is known gets empty lists: that is an answer, and the right one after an erasure.
    """
    now = clock.now()
    period = Window(now - timedelta(days=days), now + timedelta(days=1))
    impressions = lake.scan("impression", period, users=[user_id])
    feedback = lake.scan("feedback", period, users=[user_id])
    outcomes = lake.scan("outcome", period, users=[user_id])
    events = [msgspec.to_builtins(event) for event in from_arrow("feedback", _newest(feedback))]
    newest = _rows(_newest(outcomes))
    times = [pc.min(rows["time"]).as_py() for rows in (impressions, feedback, outcomes) if rows.num_rows]
    return {
        "user_id": user_id, "since": period.start.isoformat(),
        "first": min(times).isoformat() if times else None,
        "counts": {"requests": impressions.num_rows, "events": feedback.num_rows, "outcomes": outcomes.num_rows},
        "requests": [msgspec.to_builtins(event) for event in from_arrow("impression", _newest(impressions))],
        "events": events, "outcomes": newest, "told": trace_told.told(events, newest),
        **({} if control is None else _known(control, user_id, impressions, period)),
    }


def _known(control: Control, user_id: str, impressions: Any, period: Window) -> dict[str, Any]:
    """What Control knows of a shopper: exclusions, experiments with lanes and matured rows, findings."""
    names = sorted(pc.unique(impressions["experiment"]).drop_null().to_pylist())
    experiments = []
    for name in names:
        own = impressions.filter(pc.fill_null(pc.equal(impressions["experiment"], name), False))
        experiments.append({
            **(trace_why.experiment_now(control, name) or {"name": name, "stage": None, "verdict": None}),
            "requests": own.num_rows, "lanes": sorted(pc.unique(own["lane"]).to_pylist()),
            "matured": [msgspec.to_builtins(row) for row in control.matured(name, units=[user_id])]})
    subjects = [f"experiment:{name}" for name in names] + [
        f"surface:{name}" for name in sorted(pc.unique(impressions["surface"]).to_pylist())]
    return {"experiments": experiments, "findings": trace_why.touching(control, subjects, period.start, period.end),
            "exclusions": excluded_by(control, user_id)}


def _newest(rows: Any) -> Any:
    return rows.sort_by([("time", "descending")]).slice(0, ROWS)


def _rows(rows: Any) -> list[dict[str, Any]]:
    """Rows of a derived table as plain JSON values, without the partition columns."""
    plain: list[dict[str, Any]] = msgspec.to_builtins(rows.drop_columns(["day", "bucket"]).to_pylist())
    return plain
