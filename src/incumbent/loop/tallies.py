"""One shard's impressions and outcomes as states: pure functions of Arrow rows of one day and user bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.experiments.credit import BARRED
from incumbent.loop import keys
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stats.counts import Counts
from incumbent.stats.log_histogram import LogHistogram

Keyed = Iterator[tuple[str, Any]]

IMPRESSION_COLUMNS = [
    "request_id", "time", "user_id", "surface", "mode", "lane", "experiment", "stage", "latency_ms", "slots"]
ANSWER_COLUMNS = ["surface", "experiment", "stage", "lane", "user_id", "models"]
OUTCOME_COLUMNS = [
    "event_id", "time", "user_id", "action", "value_minor", "currency", "surface", "reason", "exposed_at"]
#: what is done to a slot, as `keys.ENGAGEMENT` calls it
_DONE = {"view": "views", "click": "clicks", "add_to_cart": "carts", "purchase": "purchases"}


def of_requests(impressions: pa.Table) -> Keyed:
    """`requests`, `slots` and `answer_ms` of each surface."""
    for group, rows in parts(impressions, ["surface"]):
        surface = group["surface"]
        yield keys.of_surface("requests", surface), counted(
            pc.binary_join_element_wise(rows["mode"], rows["lane"], "/"))
        owner = pc.fill_null(_child(rows["slots"], "owner"), "none")
        yield keys.of_surface("slots", surface), counted(
            pc.binary_join_element_wise(_child(rows["slots"], "kind"), owner, "/"))
        yield keys.of_surface("answer_ms", surface), LogHistogram.zero().update(
            _numbers(rows["latency_ms"].drop_null()))


def of_models(answers: pa.Table) -> Keyed:
    """States of the models' `answers_of` some impressions: they add over pieces of a shard."""
    yield from _of_surface_models(answers)
    yield from _of_experiment_models(answers)


def _of_surface_models(answers: pa.Table) -> Keyed:
    """`status`, `latency_ms` and `list_size` of each model in each role on each surface."""
    for group, rows in parts(answers, ["surface", "name", "role"]):
        def key(measure: str, group: Mapping[str, str] = group) -> str:
            return keys.of_model(measure, group["surface"], group["name"], group["role"])

        yield key("status"), counted(rows["status"])
        yield key("latency_ms"), LogHistogram.zero().update(_numbers(rows["latency_ms"]))
        good = rows.filter(pc.equal(rows["status"], "ok"))
        yield key("list_size"), counted(good["n_items"].cast(pa.string()))


def _of_experiment_models(answers: pa.Table) -> Keyed:
    """`model` of each experiment, stage, lane, role and model: errors, timeouts, latency, clustered by user."""
    inside = answers.filter(pc.and_(pc.is_valid(answers["experiment"]), pc.is_valid(answers["stage"])))
    for group, rows in parts(inside, ["experiment", "stage", "lane", "role", "name"]):
        wrong = pc.invert(pc.equal(rows["status"], "ok")).to_numpy().astype(float)
        late = pc.equal(rows["status"], "timeout").to_numpy().astype(float)
        values = np.stack([wrong, late, _numbers(rows["latency_ms"])], axis=1)
        key = keys.of_lane("model", group["experiment"], group["stage"], group["lane"], f"role={group['role']}",
                           f"model={group['name']}")
        yield key, clustered(keys.MODEL, rows["user_id"].to_pylist(), values)


def answers_of(impressions: pa.Table) -> pa.Table:
    """One row per model answer, with its impression's surface, experiment, stage, lane and user."""
    models = impressions["models"].combine_chunks()
    models = pa.concat_arrays(models.chunks) if isinstance(models, pa.ChunkedArray) else models
    parent, flat = pc.list_parent_indices(models), models.flatten()
    columns = {name: impressions[name].take(parent) for name in ("surface", "experiment", "stage", "lane", "user_id")}
    return pa.table({**columns, **{name: pc.struct_field(flat, name) for name in (
        "role", "name", "status", "latency_ms", "n_items")}})


def of_engagement(impressions: pa.Table, outcomes: pa.Table) -> Keyed:
    """`engagement`, `value` and `outcomes` of each surface."""
    width = len(keys.ENGAGEMENT)
    users: dict[str, list[str]] = {}
    rows: dict[str, list[NDArray[np.float64]]] = {}
    money: dict[tuple[str, str], tuple[list[str], list[float]]] = {}
    for group, part in parts(_per_user(impressions), ["surface"]):
        values = np.zeros((part.num_rows, width))
        values[:, 0], values[:, 1] = _numbers(part["size_count"]), _numbers(part["size_sum"])
        users[group["surface"]], rows[group["surface"]] = part["user_id"].to_pylist(), [values]
    for event in _of_surfaces(outcomes):
        surface = event["surface"]
        if event["action"] in _DONE:
            value = np.zeros((1, width))
            value[0, keys.ENGAGEMENT.index(_DONE[event["action"]])] = 1
            users.setdefault(surface, []).append(event["user_id"])
            rows.setdefault(surface, []).append(value)
        if event["action"] in ("purchase", "refund") and event["value_minor"] is not None:
            who, amounts = money.setdefault((surface, event["currency"]), ([], []))
            who.append(event["user_id"])
            amounts.append(float(event["value_minor"]))
    for surface in sorted(rows):
        yield keys.of_surface("engagement", surface), clustered(
            keys.ENGAGEMENT, users[surface], np.concatenate(rows[surface]))
    for (surface, currency), (who, amounts) in sorted(money.items()):
        yield f"{keys.of_surface('value', surface)}/currency={currency}", clustered(keys.VALUE, who, amounts)
    named = outcomes.append_column("place", pc.fill_null(outcomes["surface"], "none"))
    for group, part in parts(named, ["place"]):
        reason = pc.fill_null(part["reason"], "credited")
        yield keys.of_surface("outcomes", group["place"]), counted(
            pc.binary_join_element_wise(part["action"], reason, "/"))


def _per_user(impressions: pa.Table) -> pa.Table:
    sizes = pc.fill_null(pc.list_value_length(impressions["slots"]), 0)
    table = pa.table({"surface": impressions["surface"], "user_id": impressions["user_id"], "size": sizes})
    return table.group_by(["surface", "user_id"]).aggregate([("size", "count"), ("size", "sum")])


def _of_surfaces(outcomes: pa.Table) -> Iterator[dict[str, Any]]:
    """Each event once per surface that showed its item inside the window: it may be credited to several exposures."""
    seen = pc.or_(pc.is_null(outcomes["reason"]), pc.is_valid(outcomes["exposed_at"]))
    own = outcomes.filter(pc.and_(pc.is_valid(outcomes["surface"]), seen))
    done = set()
    for event in own.select(["event_id", "surface", "user_id", "action", "value_minor", "currency"]).to_pylist():
        if (event["surface"], event["event_id"]) not in done:
            done.add((event["surface"], event["event_id"]))
            yield event


def of_guardrails(impressions: pa.Table, outcomes: pa.Table, currencies: Mapping[str, str]) -> Keyed:
    """`guardrail` of each experiment, stage and lane: user-days with what was bought on them.

    Money of a day belongs to the user's latest request before it on that day, or to the first one where it came before
    all of them; each event once; what the collector barred not at all.
    """
    inside = impressions.filter(pc.and_(pc.is_valid(impressions["experiment"]), pc.is_valid(impressions["stage"])))
    days = inside.group_by(["experiment", "stage", "lane", "user_id"]).aggregate([("time", "count")])
    values = np.zeros((days.num_rows, len(keys.GUARDRAIL)))
    values[:, 0] = _numbers(days["time_count"])
    bought = list(_money(outcomes))
    if bought and days.num_rows:
        buyers = pa.array(sorted({event["user_id"] for event in bought}))
        mine = inside.filter(pc.is_in(inside["user_id"], buyers))
        of_buyers = days.append_column("row", pa.array(np.arange(days.num_rows))).filter(
            pc.is_in(days["user_id"], buyers)).to_pylist()
        place = {(d["experiment"], d["user_id"], d["stage"], d["lane"]): d["row"] for d in of_buyers}
        for event, experiment, stage, lane in _lanes(mine, bought):
            _spend(values[place[experiment, event["user_id"], stage, lane]], event, currencies.get(experiment, ""))
    numbered = days.append_column("row", pa.array(np.arange(days.num_rows)))
    for group, part in parts(numbered, ["experiment", "stage", "lane"]):
        yield keys.of_lane("guardrail", group["experiment"], group["stage"], group["lane"]), clustered(
            keys.GUARDRAIL, part["user_id"].to_pylist(), values[part["row"].to_numpy()])


def _lanes(
    requests: pa.Table, bought: list[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], str, str, str]]:
    """Each event with every experiment of its user, and the stage and lane of the request that it belongs to."""
    made: dict[str, dict[str, list[tuple[Any, str, str]]]] = {}
    ordered = requests.select(["user_id", "experiment", "time", "request_id", "stage", "lane"]).sort_by(
        [("time", "ascending"), ("request_id", "ascending")])
    for user, experiment, time, _, stage, lane in zip(*(column.to_pylist() for column in ordered.columns), strict=True):
        made.setdefault(user, {}).setdefault(experiment, []).append((time, stage, lane))
    for event in bought:
        for experiment, own in made.get(event["user_id"], {}).items():
            before = [request for request in own if request[0] <= event["time"]]
            _, stage, lane = before[-1] if before else own[0]
            yield event, experiment, stage, lane


def _money(outcomes: pa.Table) -> Iterator[dict[str, Any]]:
    """Each purchase and refund once."""
    kept = outcomes.filter(pc.is_in(outcomes["action"], pa.array(["purchase", "refund"])))
    kept = kept.filter(pc.invert(pc.fill_null(pc.is_in(kept["reason"], pa.array(BARRED)), False)))
    seen = set()
    for row in kept.select(["event_id", "time", "user_id", "action", "value_minor", "currency"]).to_pylist():
        if row["event_id"] not in seen:
            seen.add(row["event_id"])
            yield row


def _spend(row: NDArray[np.float64], event: dict[str, Any], currency: str) -> None:
    if event["action"] == "purchase":
        row[1] = 1.0
    if event["value_minor"] is None:
        return
    if event["currency"] == currency:
        row[2] += event["value_minor"]
    elif event["action"] == "purchase":
        row[3] += 1


def counted(column: pa.ChunkedArray) -> Counts:
    """A column of text as counts."""
    found = pc.value_counts(column)
    return Counts.zero().update(found.field("values").to_pylist(), found.field("counts").to_pylist())


def clustered(variables: tuple[str, ...], users: Iterable[str], values: Any) -> Buckets:
    """Rows of users as sums per user bucket."""
    state = Buckets.zero(k=keys.BUCKETS, variables=list(variables))
    rows = np.asarray(values, np.float64).reshape(-1, len(variables))
    return state.update(bucket_of(users, keys.BUCKETS), rows)


def parts(rows: pa.Table, by: list[str]) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """The rows of each combination of values, in a fixed order."""
    groups = rows.select(by).group_by(by).aggregate([]).to_pylist()
    for group in sorted(groups, key=lambda g: [str(g[name]) for name in by]):
        mask = None
        for name, value in group.items():
            own = pc.is_null(rows[name]) if value is None else pc.equal(rows[name], value)
            mask = own if mask is None else pc.and_(mask, own)
        yield group, rows.filter(pc.fill_null(mask, False))


def _child(lists: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    return pa.chunked_array([pc.struct_field(chunk.flatten(), name) for chunk in lists.chunks], pa.string())


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return numbers
