"""Impressions, feedback and outcomes of one day, surface and user bucket as the rows that metrics take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import json
from numpy.typing import NDArray

from incumbent.metrics.metric import Batch
from incumbent.metrics.model_agreement import COLUMNS

Rows = NDArray[np.int64]
DEPTH = 50  # items of a model's list that are looked at
REMOVED = ("duplicates", "delisted", "excluded")  # what the gateway takes out of a model's list, by its own word


@dataclass(frozen=True, eq=False)
class Lists:
    """Answers as a batch of requests, and those that hold an item as a batch of slots; `rows` (n lists,) says which."""

    answers: Batch
    lists: Batch
    rows: NDArray[np.int64]

    @property
    def items(self) -> pa.Array:
        """All items, list by list."""
        return self.lists.rows["item_id"]


def of_surface(impressions: pa.Table) -> Lists:
    """What was shown: an answer per impression."""
    slots = one_array(impressions["slots"])
    items = pc.struct_field(slots.flatten(), "item_id")
    columns = {"user_id": impressions["user_id"], "time": impressions["time"], "k": impressions["k"],
               "mode": impressions["mode"], "latency_ms": not_negative(impressions["latency_ms"])}
    return _lists(columns, items, _lengths(slots))


def of_models(impressions: pa.Table, ages: Mapping[str, Any]) -> dict[tuple[str, str], tuple[Lists, Rows]]:
    """(name, role) -> what each model answered, its list to `DEPTH`, and to which impressions; `ages` gives model_age_s
    and vectors_age_s."""
    models = one_array(impressions["models"])
    parent, flat = pc.list_parent_indices(models), models.flatten()
    out = {}
    field = {name: pc.struct_field(flat, name) for name in (
        "name", "role", "version", "status", "latency_ms", "cost", "items", "reason", "embedding_version")}
    pairs = pc.binary_join_element_wise(field["role"], field["name"], "\x1f")
    for pair in sorted(pc.unique(pairs).to_pylist()):
        mine = pc.equal(pairs, pair)
        one = {name: column.filter(mine) for name, column in field.items()}
        rows = parent.filter(mine)
        items = one_array(one["items"])
        time = impressions["time"].take(rows)
        lengths = np.minimum(_lengths(items), DEPTH)
        values, keep = items.flatten(), _first(_lengths(items), DEPTH)
        role, name = pair.split("\x1f", 1)
        columns = {"user_id": impressions["user_id"].take(rows), "time": time, "k": impressions["k"].take(rows),
                   "status": one["status"], "latency_ms": not_negative(one["latency_ms"]),
                   "cost": not_negative(one["cost"]), "removed": removed(one["reason"]),
                   "model_age_s": ages["model"](name, one["version"], time),
                   "vectors_age_s": ages["vectors"](one["embedding_version"], time)}
        out[name, role] = _lists(columns, values.filter(pa.array(keep)), lengths), rows.to_numpy().astype(np.int64)
    return out


def of_both(impressions: pa.Table) -> dict[str, tuple[Batch, Rows]]:
    """Candidate -> the requests that it and the champion answered, a row each: both lists to `DEPTH`; and which."""
    found: dict[str, dict[str, list[Any]]] = {}
    asked: dict[str, list[int]] = {}
    for at, (user, models) in enumerate(zip(impressions["user_id"].to_pylist(), impressions["models"].to_pylist(),
                                            strict=True)):
        by = {model["role"]: model for model in models if model["status"] == "ok"}
        if by.keys() >= {"champion", "candidate"}:
            rows = found.setdefault(by["candidate"]["name"], {name: [] for name in COLUMNS})
            rows["user_id"].append(user)
            asked.setdefault(by["candidate"]["name"], []).append(at)
            for role in ("champion", "candidate"):
                rows[f"{role}_items"].append((by[role]["items"] or [])[:DEPTH])
    return {name: (Batch({key: pa.array(column, pa.string() if key == "user_id" else pa.list_(pa.string()))
                          for key, column in rows.items()}), np.array(asked[name], np.int64))
            for name, rows in sorted(found.items())}


def removed(reasons: pa.Array) -> pa.Array:
    """How many items the gateway took out of each list, by the reason that it logged.

    >>> removed(pa.array(["duplicates=2 delisted=1", None, "duplicates=many"])).to_pylist()
    [3, 0, 0]
    """
    known: dict[str | None, int] = {None: 0}
    out = []
    for reason in reasons.to_pylist():
        if reason not in known:
            parts = (word.partition("=") for word in reason.split())
            known[reason] = sum(int(count) for name, _, count in parts if name in REMOVED and count.isdecimal())
        out.append(known[reason])
    return pa.array(out, pa.int64())


def of_clicks(told: pa.Table, outcomes: pa.Table, shown: pa.Table, surface: str) -> Batch:
    """The clicks of a surface with their position: those that name one of its requests, on its list or off it, and
    those that name none and were matched to a slot of it."""
    place: dict[tuple[str, str], int] = {}
    slots = shown["slots"].to_pylist() if told.num_rows else []
    ours = {}
    for request, slot_list, own in zip(shown["request_id"].to_pylist(), slots, shown["surface"].to_pylist(),
                                       strict=False):
        ours[request] = own
        if own == surface:
            place.update({(request, slot["item_id"]): slot["position"] for slot in slot_list})
    matched = {event: position for event, own, position in zip(
        *(outcomes[name].to_pylist() for name in ("event_id", "surface", "position")), strict=True)
        if own == surface and position is not None}
    credited = dict(zip(*(outcomes[name].to_pylist() for name in ("event_id", "request_id")), strict=True))
    users, positions, requests = [], [], []
    clicks = told.filter(pc.equal(told["action"], "click"))
    for event, user, item, request in zip(*(clicks[name].to_pylist() for name in (
            "event_id", "user_id", "item_id", "request_id")), strict=True):
        if request and request in ours:
            if ours[request] == surface:
                users.append(user)
                positions.append(place.get((request, item)))
                requests.append(request)
        elif event in matched:
            users.append(user)
            positions.append(matched[event])
            requests.append(credited[event])
    return Batch({"user_id": pa.array(users, pa.string()), "position": pa.array(positions, pa.int64()),
                  "request_id": pa.array(requests, pa.string())})


def of_dwells(told: pa.Table, events: set[str]) -> Batch:
    """Dwells of a surface: `seconds`, and `length_s` where the context of the event tells how long the item is."""
    rows = told.filter(pc.and_(pc.equal(told["action"], "dwell"), pc.is_in(told["event_id"], pa.array(
        sorted(events), pa.string()))))
    lengths = [json.decode(context).get("length_s") if context else None for context in rows["context"].to_pylist()]
    usable = [float(one) if isinstance(one, int | float) and not isinstance(one, bool) else None for one in lengths]
    return Batch({"user_id": rows["user_id"], "seconds": not_negative(rows["seconds"]),
                  "length_s": pa.array(usable, pa.float64()), "request_id": rows["request_id"]})


def _lists(columns: Mapping[str, Any], items: pa.Array, lengths: NDArray[np.int64]) -> Lists:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    answers = {**columns, "items": pa.ListArray.from_arrays(pa.array(starts, pa.int32()), items)}
    owner = np.repeat(np.arange(len(lengths)), lengths)
    rows = {"user_id": one_array(columns["user_id"]).take(pa.array(owner)), "item_id": items,
            "rank": np.arange(len(items)) - starts[owner], "list_id": owner}
    return Lists(Batch(answers), Batch(rows), np.flatnonzero(lengths))


def _first(lengths: NDArray[np.int64], depth: int) -> NDArray[np.bool_]:
    ends = np.cumsum(lengths)
    return np.asarray(np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths) < depth)


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), np.int64)


def not_negative(amounts: Any) -> Any:
    """What cannot be below 0, as the lake has it: a negative, which older versions took, is null. Nobody knows it, and
    the other rows of its day are measured all the same.

    >>> not_negative(pa.array([2.0, -1.0, None])).to_pylist()
    [2.0, None, None]
    """
    return pc.if_else(pc.less(amounts, 0), pa.scalar(None, amounts.type), amounts)


def one_array(column: Any) -> pa.Array:
    """A column as one array."""
    found = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found
