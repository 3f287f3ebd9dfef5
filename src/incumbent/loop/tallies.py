"""One shard's impressions and outcomes as states: pure functions of Arrow rows of one day and user bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.loop import keys
from incumbent.loop.relations import MONEY
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stats.counts import Counts
from incumbent.stats.log_histogram import LogHistogram

Keyed = Iterator[tuple[str, Any]]

SHOWN_COLUMNS = ["user_id", "surface", "mode", "lane", "experiment", "stage", "latency_ms", "slots", "models"]
OUTCOME_COLUMNS = [
    "event_id", "time", "user_id", "action", "value_minor", "currency", "surface", "reason", "exposed_at", "experiment",
    "stage", "lane"]
#: experiment -> milliseconds above which an answer is slow, one per variable of `keys.SLOW`
SlowLimits = Mapping[str, tuple[float, ...]]
#: what is done to a slot: the action behind a name of `keys.ENGAGEMENT`
_ACTION = {"views": "view", "clicks": "click", "carts": "add_to_cart", "purchases": "purchase"}


def of_shown(impressions: pa.Table, limits: SlowLimits) -> Keyed:
    """All states of impressions alone: they add over pieces of a shard, and over what comes to it later."""
    yield from _of_requests(impressions)
    yield from _of_models(answers_of(impressions), limits)


def _of_requests(impressions: pa.Table) -> Keyed:
    """`requests`, `slots`, `shown` and `answer_ms` of each surface."""
    for group, rows in parts(impressions, ["surface"]):
        surface = group["surface"]
        yield keys.of_surface("requests", surface), counted(
            pc.binary_join_element_wise(rows["mode"], rows["lane"], "/"))
        owner = pc.fill_null(_child(rows["slots"], "owner"), "none")
        yield keys.of_surface("slots", surface), counted(
            pc.binary_join_element_wise(_child(rows["slots"], "kind"), owner, "/"))
        sizes = pc.fill_null(pc.list_value_length(rows["slots"]), 0)
        yield keys.of_surface("shown", surface), clustered(keys.SHOWN, rows["user_id"].to_pylist(), np.stack(
            [np.ones(rows.num_rows), _numbers(sizes)], axis=1))
        yield keys.of_surface("answer_ms", surface), LogHistogram.zero().update(
            _numbers(rows["latency_ms"].drop_null()))


def _of_models(answers: pa.Table, limits: SlowLimits) -> Keyed:
    yield from _of_surface_models(answers)
    yield from _of_experiment_models(answers, limits)


def _of_surface_models(answers: pa.Table) -> Keyed:
    """`status`, `latency_ms` and `list_size` of each model in each role on each surface."""
    for group, rows in parts(answers, ["surface", "name", "role"]):
        def key(measure: str, group: Mapping[str, str] = group) -> str:
            return keys.of_model(measure, group["surface"], group["name"], group["role"])

        yield key("status"), counted(rows["status"])
        yield key("latency_ms"), LogHistogram.zero().update(_numbers(rows["latency_ms"]))
        good = rows.filter(pc.equal(rows["status"], "ok"))
        yield key("list_size"), counted(good["n_items"].cast(pa.string()))


def _of_experiment_models(answers: pa.Table, limits: SlowLimits) -> Keyed:
    """`model`, and where limits are known `slow`, of each experiment, stage, lane, role and model, by user bucket."""
    inside = answers.filter(pc.and_(pc.is_valid(answers["experiment"]), pc.is_valid(answers["stage"])))
    for group, rows in parts(inside, ["experiment", "stage", "lane", "role", "name"]):
        wrong = pc.invert(pc.equal(rows["status"], "ok")).to_numpy().astype(float)
        late = pc.equal(rows["status"], "timeout").to_numpy().astype(float)
        took, users = _numbers(rows["latency_ms"]), rows["user_id"].to_pylist()
        where = (group["experiment"], group["stage"], group["lane"], f"role={group['role']}", f"model={group['name']}")
        yield keys.of_lane("model", *where), clustered(keys.MODEL, users, np.stack([wrong, late, took], axis=1))
        if group["experiment"] in limits:
            slow = np.stack([(late > 0) | (took > limit) for limit in limits[group["experiment"]]], axis=1)
            yield keys.of_lane("slow", *where), clustered(keys.SLOW, users, slow.astype(float))


def answers_of(impressions: pa.Table) -> pa.Table:
    """One row per model answer, with its impression's surface, experiment, stage, lane and user."""
    models = impressions["models"].combine_chunks()
    models = pa.concat_arrays(models.chunks) if isinstance(models, pa.ChunkedArray) else models
    parent, flat = pc.list_parent_indices(models), models.flatten()
    columns = {name: impressions[name].take(parent) for name in ("surface", "experiment", "stage", "lane", "user_id")}
    return pa.table({**columns, **{name: pc.struct_field(flat, name) for name in (
        "role", "name", "status", "latency_ms", "n_items")}})


def of_engagement(shown: Mapping[str, Buckets], outcomes: pa.Table) -> Keyed:
    """`engagement`, `value` and `outcomes` of each surface; `shown` are its states of that name, by surface."""
    events = _of_surfaces(outcomes)
    acted = {group["surface"]: rows for group, rows in parts(
        events.filter(pc.is_in(events["action"], pa.array(list(_ACTION.values())))), ["surface"])}
    for surface in sorted({*shown, *acted}):
        rows = acted.get(surface, events.slice(0, 0))
        done = clustered(keys.ENGAGEMENT, rows["user_id"].to_pylist(), np.stack(
            [_numbers(pc.equal(rows["action"], _ACTION[name])) if name in _ACTION else np.zeros(rows.num_rows)
             for name in keys.ENGAGEMENT], axis=1))
        yield keys.of_surface("engagement", surface), done.merge(_widened(shown[surface])) if surface in shown else done
    paid = events.filter(pc.and_(pc.is_in(events["action"], pa.array(MONEY)), pc.is_valid(events["value_minor"])))
    for group, rows in parts(paid, ["surface", "currency"]):
        yield f"{keys.of_surface('value', group['surface'])}/currency={group['currency']}", clustered(
            keys.VALUE, rows["user_id"].to_pylist(), _numbers(rows["value_minor"]))
    named = outcomes.append_column("place", pc.fill_null(outcomes["surface"], "none"))
    for group, part in parts(named, ["place"]):
        reason = pc.fill_null(part["reason"], "credited")
        yield keys.of_surface("outcomes", group["place"]), counted(
            pc.binary_join_element_wise(part["action"], reason, "/"))


def _widened(shown: Buckets) -> Buckets:
    """`shown` with the variables of `engagement`, nothing done yet."""
    rest = Buckets.zero(k=keys.BUCKETS, variables=[name for name in keys.ENGAGEMENT if name not in keys.SHOWN])
    return shown.beside(rest)


def _of_surfaces(outcomes: pa.Table) -> pa.Table:
    """Each event once per surface that showed its item inside the window: it may be credited to several exposures."""
    seen = pc.or_(pc.is_null(outcomes["reason"]), pc.is_valid(outcomes["exposed_at"]))
    own = outcomes.filter(pc.and_(pc.is_valid(outcomes["surface"]), seen))
    columns, nulls = ["user_id", "action", "value_minor", "currency"], pc.ScalarAggregateOptions(skip_nulls=False)
    once = own.group_by(["surface", "event_id"], use_threads=False).aggregate(
        [(name, "first", nulls) for name in columns])
    return once.select(["surface", *(f"{name}_first" for name in columns)]).rename_columns(["surface", *columns])


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
