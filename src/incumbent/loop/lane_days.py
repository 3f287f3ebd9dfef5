"""The guardrails of the lanes: what users of each experiment, stage and lane did and bought on one day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.experiments.credit import MONEYLESS
from incumbent.loop import keys
from incumbent.loop.relations import plain
from incumbent.loop.tallies import Keyed, clustered, parts

GUARDRAIL_COLUMNS = ["request_id", "time", "user_id", "experiment", "stage", "lane"]
_WHO = ["experiment", "stage", "lane", "user_id"]
Who = tuple[str, str, str, str]


def of_guardrails(impressions: pa.Table, outcomes: pa.Table, currencies: Mapping[str, str]) -> Keyed:
    """`guardrail` of each experiment, stage and lane of one day and user bucket: its user-days with what was bought.

    Money of a day belongs to the stage and lane of the user's latest request before it on that day, or of the first one
    where it came before all of them; on a day without a request, to those of the exposure that the outcome names, the
    latest where it names several: what was shown inside the attribution window counts whenever it is bought or given
    back. What belongs to neither is in no lane, whichever the user is in. Each event once per experiment; what the
    collector barred not at all.
    """
    inside = impressions.filter(pc.and_(pc.is_valid(impressions["experiment"]), pc.is_valid(impressions["stage"])))
    asked = inside.group_by(_WHO).aggregate([("time", "count")]).select([*_WHO, "time_count"])
    placed = list(_placed(inside, outcomes))
    buyers = pa.array(sorted({who[3] for who, _ in placed}), pa.string())
    of_buyers = asked.filter(pc.is_in(asked["user_id"], buyers)).select(_WHO).to_pylist()
    met = {tuple(row[name] for name in _WHO) for row in of_buyers}
    absent = sorted({who for who, _ in placed} - met)
    days = pa.concat_tables([asked, pa.table(
        [*(pa.array([who[i] for who in absent], pa.string()) for i in range(4)), pa.array([0] * len(absent))],
        schema=asked.schema)])
    values = np.zeros((days.num_rows, len(keys.GUARDRAIL)))
    values[:, 0] = days["time_count"].to_numpy()
    numbered = days.append_column("row", pa.array(np.arange(days.num_rows)))
    row_of = {tuple(row[name] for name in _WHO): row["row"]
              for row in numbered.filter(pc.is_in(numbered["user_id"], buyers)).to_pylist()}
    for who, event in placed:
        _spend(values[row_of[who]], event, currencies.get(who[0], ""))
    for group, part in parts(numbered, ["experiment", "stage", "lane"]):
        yield keys.of_lane("guardrail", group["experiment"], group["stage"], group["lane"]), clustered(
            keys.GUARDRAIL, part["user_id"].to_pylist(), values[part["row"].to_numpy()])


def _placed(requests: pa.Table, outcomes: pa.Table) -> Iterator[tuple[Who, dict[str, Any]]]:
    """Each purchase and refund once per experiment, with the experiment, stage, lane and user that it belongs to."""
    bought = list(_money(outcomes))
    mine = requests.filter(pc.is_in(requests["user_id"], pa.array(sorted({rows[0]["user_id"] for rows in bought}),
                                                                  pa.string())))
    made: dict[str, dict[str, list[tuple[Any, str, str]]]] = {}
    ordered = plain(mine.select(["user_id", "experiment", "time", "request_id", "stage", "lane"])).sort_by(
        [("time", "ascending"), ("request_id", "ascending")]).drop_columns(["request_id"])
    for user, experiment, time, stage, lane in zip(*(column.to_pylist() for column in ordered.columns), strict=True):
        made.setdefault(user, {}).setdefault(experiment, []).append((time, stage, lane))
    for rows in bought:
        event = rows[0]
        asked = made.get(event["user_id"], {})
        for experiment, own in asked.items():
            before = [request for request in own if request[0] <= event["time"]]
            _, stage, lane = before[-1] if before else own[0]
            yield (experiment, stage, lane, event["user_id"]), event
        for experiment, (stage, lane) in _shown(rows).items():
            if experiment not in asked:
                yield (experiment, stage, lane, event["user_id"]), event


def _shown(rows: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Experiment -> stage and lane of the latest exposure that the outcome rows of one event name."""
    named = [row for row in rows if None not in (row["experiment"], row["stage"], row["lane"], row["exposed_at"])]
    return {row["experiment"]: (row["stage"], row["lane"])
            for row in sorted(named, key=lambda row: (row["exposed_at"], row["stage"], row["lane"]))}


def _money(outcomes: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """The rows of each purchase and refund."""
    kept = outcomes.filter(pc.is_in(outcomes["action"], pa.array(["purchase", "refund"])))
    kept = kept.filter(pc.invert(pc.fill_null(pc.is_in(kept["reason"], pa.array(MONEYLESS)), False)))
    events: dict[str, list[dict[str, Any]]] = {}
    for row in plain(kept.select(["event_id", "time", "user_id", "action", "value_minor", "currency", "exposed_at",
                            "experiment", "stage", "lane"])).to_pylist():
        events.setdefault(row["event_id"], []).append(row)
    yield from events.values()


def _spend(row: NDArray[np.float64], event: dict[str, Any], currency: str) -> None:
    if event["action"] == "purchase":
        row[1] = 1.0
    if event["value_minor"] is None:
        return
    if event["currency"] == currency:
        row[2] += event["value_minor"]
    elif event["action"] == "purchase":
        row[3] += 1
