"""What shoppers did to what they were shown, by the window of the exposure: clicks, conversions, failures, calibration.

An outcome belongs to the request that has its credit. A click counts within `click_hours` of the exposure, a purchase
within `conversion_days` days of 24 hours; so a window's numbers stand once that time has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.loop.drift import names
from incumbent.loop.drift.grid import Grid
from incumbent.loop.drift.rows import Rows, _lists, _starts
from incumbent.loop.tallies import parts

COLUMNS = ["request_id", "user_id", "time", "surface", "page", "models", "slots", "context"]
OUTCOME_COLUMNS = ["time", "action", "item_id", "request_id", "exposed_at"]
HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
POSITIONS = 10  # of calibration: from this on they are one group
REST = "other"  # requests without the segment's field, or of its rarer values
_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Waits:
    """How long outcomes are waited for, and by which context field responses are told apart."""

    click_hours: float = 24.0
    conversion_days: int = 7
    segment: str | None = None


def of_responses(impressions: pa.Table, outcomes: pa.Table, grid: Grid, waits: Waits) -> Rows:
    """`response`, `delay`, `ndcg`, `calibration` of first pages; `outcomes` are those of their users until the wait is
    over."""
    first = impressions.filter(pc.equal(impressions["page"], 1))
    clicks, bought = clicks_of(outcomes, waits), _purchases(outcomes, waits)
    clicked = np.asarray(pc.is_in(first["request_id"], value_set=clicks["request_id"]))
    late = _first_delay(first["request_id"], bought)
    failed, segment = _failed(_lists(first["models"]), first.num_rows), segments(first, waits.segment)
    starts, found = _starts(first, grid), {}
    table = pa.table({"start": starts, "surface": first["surface"], "clicked": clicked, "converted": late > 0,
                      "failed": failed, "late": late, "segment": segment, "user": first["user_id"],
                      "ndcg": _ndcg(first, clicks)})
    for group, rows in parts(table, ["surface"]):
        found[names.stream("response", group["surface"])] = rows.select(
            ["start", "clicked", "converted", "failed", "segment"])
        found[names.stream("delay", group["surface"])] = rows.select(["start", "late"])
        found[names.stream(names.NDCG, group["surface"])] = rows.select(["start", "user", "ndcg"])
    return {**found, **_calibration(first, starts, clicks)}


def clicks_of(outcomes: pa.Table, waits: Waits) -> pa.Table:
    """`request_id` and `item_id` of clicks in time."""
    rows = _of_exposures(outcomes, "click")
    return rows.filter(pa.array(_waited(rows) <= waits.click_hours * HOUR_US)).select(["request_id", "item_id"])


def _purchases(outcomes: pa.Table, waits: Waits) -> pa.Table:
    """`request_id` and `late`, the whole days of 24 hours, from 1, after which a purchase had come."""
    rows = _of_exposures(outcomes, "purchase")
    late = _waited(rows) // DAY_US + 1
    table = pa.table({"request_id": rows["request_id"], "late": late}).filter(pa.array(late <= waits.conversion_days))
    return table.group_by("request_id").aggregate([("late", "min")]).rename_columns(["request_id", "late"])


def _of_exposures(outcomes: pa.Table, action: str) -> pa.Table:
    known = pc.and_(pc.is_valid(outcomes["request_id"]), pc.is_valid(outcomes["exposed_at"]))
    return outcomes.filter(pc.and_(pc.equal(outcomes["action"], action), known))


def _waited(rows: pa.Table) -> NDArray[np.int64]:
    waited: NDArray[np.int64] = np.asarray(rows["time"].cast(pa.int64())) - np.asarray(
        rows["exposed_at"].cast(pa.int64()))
    return waited


def _first_delay(requests: pa.ChunkedArray, bought: pa.Table) -> NDArray[np.int64]:
    """Per request the days until its first purchase, 0 without one."""
    where = pc.index_in(requests, value_set=bought["request_id"])
    return np.asarray(pc.fill_null(bought["late"].combine_chunks().take(_lists(where)), 0), dtype=np.int64)


def _ndcg(rows: pa.Table, clicks: pa.Table) -> NDArray[np.float64]:
    """Per request ``sum over clicked slots of 1 / log2(position + 1)`` over that of as many on top; 0 without any."""
    slots = _lists(rows["slots"])
    parent, flat = np.asarray(pc.list_parent_indices(slots)), slots.flatten()
    pairs = _joined(_lists(rows["request_id"]).take(pa.array(parent)), pc.struct_field(flat, "item_id"))
    hit = np.asarray(pc.is_in(pairs, value_set=_joined(_lists(clicks["request_id"]), _lists(clicks["item_id"]))))
    place = np.asarray(pc.struct_field(flat, "position"), dtype=np.float64)[hit]
    top = np.bincount(parent[hit], weights=1 / np.log2(place + 1), minlength=rows.num_rows)
    count = np.bincount(parent[hit], minlength=rows.num_rows)
    ideal = np.concatenate([[1.0], np.cumsum(1 / np.log2(np.arange(2.0, count.max(initial=0) + 2)))])
    found: NDArray[np.float64] = np.minimum(top / ideal[count], 1.0)
    return found


def _failed(models: Any, rows: int) -> NDArray[np.bool_]:
    """The requests that the champion did not answer well."""
    parent = np.asarray(pc.list_parent_indices(models))
    flat = models.flatten()
    good = pc.and_(pc.equal(pc.struct_field(flat, "role"), "champion"), pc.equal(pc.struct_field(flat, "status"), "ok"))
    failed = np.ones(rows, dtype=bool)
    failed[parent[np.asarray(pc.fill_null(good, False))]] = False
    return failed


def segments(rows: pa.Table, field: str | None) -> pa.Array:
    """The value of a context field of every request, `REST` where it has none."""
    if field is None:
        return pa.repeat(pa.scalar(REST), rows.num_rows)
    coded = _lists(rows["context"]).dictionary_encode()
    values = [(msgspec.json.decode(text) if text else {}).get(field) for text in coded.dictionary.to_pylist()]
    texts = pa.array([REST if value is None else str(value)[:64] for value in values], pa.string())
    return pc.fill_null(texts.take(coded.indices), REST)


def of_slots(rows: pa.Table, clicks: pa.Table) -> pa.Table:
    """Every slot of some requests that has an owner whose answer is known: `request`, the number of its row, the
    owner's `name`, `version` and `query` (its version of a space), `item_id`, `score`, `place` from 0, and whether it
    was `clicked`."""
    slots, models = _lists(rows["slots"]), _lists(rows["models"])
    parent, flat = np.asarray(pc.list_parent_indices(slots)), slots.flatten()
    chosen = np.asarray(pc.is_valid(pc.struct_field(flat, "owner")))
    flat, parent = flat.filter(pa.array(chosen)), parent[chosen]
    of, answers = np.asarray(pc.list_parent_indices(models)), models.flatten()
    asked = pa.array(parent)
    key = _joined(asked.cast(pa.string()), pc.struct_field(flat, "owner"))
    where = pc.index_in(key, value_set=_joined(pa.array(of).cast(pa.string()), pc.struct_field(answers, "role")))
    pairs = _joined(_lists(rows["request_id"]).take(asked), pc.struct_field(flat, "item_id"))
    hit = pc.is_in(pairs, value_set=_joined(_lists(clicks["request_id"]), _lists(clicks["item_id"])))
    table = pa.table({
        "request": asked, **{name: pc.struct_field(answers, field).take(where) for name, field in (
            ("name", "name"), ("version", "version"), ("query", "embedding_version"))},
        "item_id": pc.struct_field(flat, "item_id"), "score": pc.struct_field(flat, "score"),
        "place": pc.subtract(pc.struct_field(flat, "position"), 1), "clicked": hit})
    return table.filter(pc.is_valid(table["name"]))


def _calibration(rows: pa.Table, starts: pa.Array, clicks: pa.Table) -> Rows:
    """`score`, `label` and `group` of every slot with an owner and a score, by the owner's name and version."""
    told = of_slots(rows, clicks)
    told = told.filter(pc.is_valid(told["score"]))
    asked = _lists(told["request"])
    table = pa.table({
        "start": starts.take(asked), "surface": rows["surface"].take(asked), "name": told["name"],
        "version": told["version"], "score": told["score"], "label": told["clicked"].cast(pa.float64()),
        "group": np.minimum(np.asarray(told["place"]), POSITIONS - 1)})
    found = {}
    for group, part in parts(table, ["surface", "name", "version"]):
        found[names.stream("calibration", group["surface"], group["name"], group["version"])] = part.select(
            ["start", "score", "label", "group"])
    return found


def _joined(first: Any, second: Any) -> Any:
    return pc.binary_join_element_wise(first, second, _SEPARATOR)
