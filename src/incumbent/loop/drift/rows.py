"""One shard's rows as streams: pure functions of Arrow rows. Each stream is a table with `start`, of its window."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.loop.drift import names
from incumbent.loop.drift.facts import Facts
from incumbent.loop.drift.grid import Grid
from incumbent.loop.drift.vector_times import VectorTimes
from incumbent.loop.tallies import parts

Rows = dict[str, pa.Table]
Whole = NDArray[np.int64]

EMBEDDING_COLUMNS = ["time", "space", "entity", "version", "vector"]
REQUEST_COLUMNS = ["time", "user_id", "surface", "page", "k", "models", "context"]
FIELDS = 32  # of one surface's context, the most frequent


def of_embeddings(rows: pa.Table, grid: Grid) -> Rows:
    """`start` and `vector` of each space, entity and version."""
    found = {}
    for group, part in parts(rows, ["space", "entity", "version"]):
        name = names.stream("embeddings", group["space"], group["entity"], group["version"])
        found[name] = pa.table({"start": _starts(part, grid), "vector": part["vector"]})
    return found


def of_recommended(impressions: pa.Table, grid: Grid, facts: Facts, vectors: VectorTimes | None = None) -> Rows:
    """What each model recommended for first pages: `id` and `category`; `number` and `currency`; `number` of scores.

    With `vectors` also what `of_served` tells of them.
    """
    answers = _answers(impressions.filter(pc.equal(impressions["page"], 1)), grid)
    found: Rows = {}
    for group, rows in parts(answers, ["surface", "name"]):
        where = (group["surface"], group["name"])
        ids = rows["id"]
        found[names.stream("items", *where)] = pa.table(
            {"start": rows["start"], "id": ids, "category": facts.of(ids, "category")})
        found[names.stream("prices", *where)] = pa.table({
            "start": rows["start"], "number": facts.of(ids, "price_minor").cast(pa.float64()),
            "currency": facts.of(ids, "currency")})
        for version, own in parts(rows.filter(rows["scored"]), ["version"]):
            found[names.stream("scores", *where, version["version"])] = pa.table(
                {"start": own["start"], "number": own["score"]})
    return found if vectors is None else {**found, **of_served(answers, vectors)}


def of_served(answers: pa.Table, vectors: VectorTimes) -> Rows:
    """Of each item that a model recommended: `query`, the version that the model says, `item`, that of the item's
    newest vector at the request, and whose it was (`user`); and the age of that vector, `number`, in seconds."""
    found: Rows = {}
    for group, rows in parts(answers.filter(pc.is_valid(answers["query"])), ["surface", "name"]):
        rows = rows.combine_chunks()
        query, ids = _lists(rows["query"]), _lists(rows["id"])
        item, age = vectors.newest(query, ids, np.asarray(rows["time"]))
        where = (group["surface"], group["name"])
        found[names.stream("skew", *where)] = pa.table(
            {"start": rows["start"], "user": rows["user"], "query": query, "item": item})
        found[names.stream("vector_age", *where)] = pa.table({"start": rows["start"], "number": age})
    return found


def _answers(impressions: pa.Table, grid: Grid) -> pa.Table:
    """A row per item of the first k of every answer that was ok."""
    models, starts = _lists(impressions["models"]), _starts(impressions, grid).to_numpy()
    times = impressions["time"].cast(pa.int64())
    parent = np.asarray(pc.list_parent_indices(models))
    flat = models.flatten()
    good = np.asarray(pc.fill_null(pc.equal(pc.struct_field(flat, "status"), "ok"), False))
    flat, parent = flat.filter(pa.array(good)), parent[good]
    asked = np.asarray(pc.fill_null(impressions["k"], 0))[parent]
    items = pc.struct_field(flat, "items")
    answer = np.asarray(pc.list_parent_indices(items))
    lengths = np.asarray(pc.fill_null(pc.list_value_length(items), 0), dtype=np.int64)
    place = np.arange(len(answer)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first = place < np.where(asked > 0, asked, np.iinfo(np.int64).max)[answer]
    scores, scored = _scores(flat, lengths)
    kept, owner = pa.array(np.flatnonzero(first)), answer[first]
    return pa.table({
        "start": starts[parent[owner]], "surface": impressions["surface"].take(pa.array(parent[owner])),
        "name": pc.struct_field(flat, "name").take(pa.array(owner)),
        "version": pc.struct_field(flat, "version").take(pa.array(owner)),
        "query": pc.struct_field(flat, "embedding_version").take(pa.array(owner)),
        "time": times.take(pa.array(parent[owner])), "user": impressions["user_id"].take(pa.array(parent[owner])),
        "id": items.flatten().take(kept), "score": scores.take(kept), "scored": scored[first]})


def _scores(answers: pa.Array, lengths: Whole) -> tuple[pa.Array, NDArray[np.bool_]]:
    """A score per item, and whether the answer came with scores; null where it did not have one for each."""
    lists = pc.struct_field(answers, "scores")
    sized = np.asarray(pc.fill_null(pc.list_value_length(lists), -1), dtype=np.int64)
    whole = (sized == lengths) & (lengths > 0)
    flat = lists.filter(pa.array(whole)).flatten().cast(pa.float64())
    scored = np.repeat(whole, lengths)
    at = np.where(scored, np.cumsum(scored) - 1, 0)
    return flat.take(pa.array(at, mask=~scored)), scored


def of_context(impressions: pa.Table, grid: Grid, known: Mapping[str, Collection[str]]) -> Rows:
    """Every context field of each surface's requests: `number` and `text`, both null where the request has it not, and
    whose it was (`user`).

    `known` are the fields to be told of even where no request has them; of others the most frequent, `FIELDS` in all.
    """
    found: Rows = {}
    for group, rows in parts(impressions, ["surface"]):
        surface, starts = group["surface"], _starts(rows, grid)
        coded = _lists(rows["context"]).dictionary_encode()
        contexts = [msgspec.json.decode(text) if text else {} for text in coded.dictionary.to_pylist()]
        index = np.asarray(coded.indices.fill_null(0)) if len(contexts) else np.zeros(0, np.int64)
        often: dict[str, int] = dict.fromkeys(known.get(surface, ()), len(index))
        for context, count in zip(contexts, np.bincount(index, minlength=len(contexts)).tolist(), strict=True):
            for field in context:
                often[field] = often.get(field, 0) + count
        for field in sorted(often, key=lambda one: (-often[one], one))[:max(FIELDS, len(known.get(surface, ())))]:
            numbers, texts = zip(*(_value(context.get(field)) for context in contexts), strict=True)
            found[names.stream("context", surface, field)] = pa.table({
                "start": starts, "user": rows["user_id"],
                "number": pa.array(numbers, pa.float64()).take(pa.array(index)),
                "text": pa.array(texts, pa.string()).take(pa.array(index))})
    return found


def _value(value: Any) -> tuple[float | None, str | None]:
    """A context value as a number and as text."""
    if value is None:
        return None, None
    if isinstance(value, bool):
        return None, str(value).lower()
    return (float(value), str(value)) if isinstance(value, int | float) else (None, str(value))


def _starts(rows: pa.Table, grid: Grid) -> pa.Array:
    return pa.array(grid.starts(np.asarray(rows["time"].cast(pa.int64()))))


def _lists(column: pa.ChunkedArray) -> Any:
    made = column.combine_chunks()
    return pa.concat_arrays(made.chunks) if isinstance(made, pa.ChunkedArray) else made
