"""held_out_file: requests made of a file of interactions: one request a user, and what they did is what was wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.errors import DataError, NotFoundError
from incumbent.events.schema import Context
from incumbent.loop.evaluation.held_out import HeldOut, pairs_table, popularity_table, whole_users
from incumbent.metrics.frames import as_ids, numbers
from incumbent.metrics.metric import Side
from incumbent.models.recommender import Ask

_OWN = {"user_id", "item_id", "gain", "time"}
_IDS = {"user_id": pa.string(), "item_id": pa.string(), "category": pa.string()}


def from_files(
    interactions: str | Path, *, history: str | Path | None = None, catalogue: str | Path | None = None, k: int,
    requests: int, surface: str = "file",
) -> HeldOut:
    """One request for each user of `interactions` (Parquet or CSV: user_id, item_id, perhaps gain).

    Every other column but ``time`` is context of the request: a slice, or what the model reads; the first value that a
    user has counts. `history` (user_id, item_id, perhaps event_id, oldest first): what they had before, and how popular
    each item was. `catalogue` (item_id, perhaps category): everything listed. Pairs given twice count once, rows
    without an id not at all; both are counted. `NotFoundError` for an absent file, `DataError` for absent
    columns, all named, and those that are there twice, for a gain that is missing, and an empty table.
    """
    rows, dropped = _interactions(interactions, "interactions")
    if not rows.num_rows:
        raise DataError("no interactions", got=str(interactions), expected="a row with a user and an item, or more",
                        field="--data")
    users = rows["user_id"].to_pylist()
    order = list(dict.fromkeys(users))
    chosen = [order[n] for n in whole_users(order, requests)]
    number = {user: n for n, user in enumerate(chosen)}
    contexts = _contexts(rows, users, number)
    gains: dict[tuple[int, str], float] = {}
    given = rows["gain"].to_pylist() if "gain" in rows.column_names else [1.0] * len(users)
    mine = 0
    for user, item, gain in zip(users, rows["item_id"].to_pylist(), given, strict=True):
        if user in number:
            mine += 1
            key = (number[user], item)
            gains[key] = max(gains.get(key, float("-inf")), float(gain))
    had: dict[tuple[int, str], None] = {}
    popular: Counter[str] = Counter()
    known: dict[str, int] = {}
    events: list[list[str]] = []
    notes = ["one request a user: several of their requests are not told apart in a file of interactions"]
    if history is not None:
        before, lost = _interactions(history, "history")
        popular.update(before["item_id"].to_pylist())
        had = dict.fromkeys((number[user], item) for user, item in zip(
            before["user_id"].to_pylist(), before["item_id"].to_pylist(), strict=True) if user in number)
        known = {"users_without_history": len(number) - len({request for request, _ in had}),
                 "history_rows_of_others": sum(user not in number for user in before["user_id"].to_pylist()),
                 "history_rows_without_id": lost}
        events = _events(before, number)
    side = Side(relevant=pairs_table(gains, gain=pa.array(list(gains.values()), pa.float64())),
                history=pairs_table(had) if history is not None else None, popularity=popularity_table(popular),
                catalogue=None if catalogue is None else _catalogue(catalogue))
    asks = [Ask(user, surface, k, contexts[n], request_id=f"request-{n}") for n, user in enumerate(chosen)]
    counts = {"requests": len(asks), "users": len(asks), "users_left_out": len(order) - len(chosen),
              "rows_without_id": dropped, "pairs_twice": mine - len(gains)} | known
    return HeldOut(str(interactions), asks, np.full(len(asks), np.nan), side, counts, notes, events)


def _events(history: pa.Table, number: dict[str, int]) -> list[list[str]]:
    """Per chosen user the ids of their interactions."""
    if "event_id" not in history.column_names:
        return []
    found: list[list[str]] = [[] for _ in number]
    events = history["event_id"].cast(pa.string()).to_pylist()
    for user, event in zip(history["user_id"].to_pylist(), events, strict=True):
        if user in number and event is not None:
            found[number[user]].append(event)
    return found


def _interactions(path: str | Path, what: str) -> tuple[pa.Table, int]:
    """The rows that have both ids, as text, and how many had not."""
    rows = read_table(path, what, ("user_id", "item_id"))
    for name in ("user_id", "item_id"):
        ids = as_ids(rows[name].combine_chunks(), f"{what}.{name}").cast(pa.string())
        rows = rows.set_column(rows.column_names.index(name), name, ids)
    if "gain" in rows.column_names:
        kind = rows["gain"].type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise DataError("a gain must be a number", got=str(kind), field=f"{what}.gain")
        wrong = int((~np.isfinite(numbers(rows["gain"].combine_chunks(), f"{what}.gain"))).sum())
        if wrong:
            raise DataError("a gain is missing or not finite", got=f"{wrong} rows", expected="a number per row",
                            field=f"{what}.gain", hint="0 is not wanted")
    there = pc.and_(pc.is_valid(rows["user_id"]), pc.is_valid(rows["item_id"]))
    there = pc.and_(there, pc.and_(pc.not_equal(rows["user_id"], ""), pc.not_equal(rows["item_id"], "")))
    kept = rows.filter(there)
    return kept, rows.num_rows - kept.num_rows


def _catalogue(path: str | Path) -> pa.Table:
    """Items, each once: the first line of an item counts."""
    rows = read_table(path, "catalogue", ("item_id",))
    ids = as_ids(rows["item_id"].combine_chunks(), "catalogue.item_id").cast(pa.string())
    rows = rows.set_column(rows.column_names.index("item_id"), "item_id", ids).filter(pc.is_valid(ids))
    first = np.unique(np.asarray(rows["item_id"].combine_chunks().dictionary_encode().indices), return_index=True)[1]
    kept: pa.Table = rows.take(pa.array(np.sort(first)))
    return kept


def read_table(path: str | Path, what: str, names: tuple[str, ...]) -> pa.Table:
    """A Parquet or CSV file with these columns; ids of CSV are text."""
    from pyarrow import csv, parquet

    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"no file of {what}", got=str(file), expected="a Parquet or CSV file",
                            hint="a period is YYYY-MM-DD..YYYY-MM-DD" if what == "interactions" else None)
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            rows: Any = parquet.read_table(file)
        elif file.suffix.lower() in (".csv", ".gz", ".tsv"):
            delimiter = "\t" if ".tsv" in file.suffixes else ","
            rows = csv.read_csv(file, parse_options=csv.ParseOptions(delimiter=delimiter),
                                convert_options=csv.ConvertOptions(column_types=_IDS, strings_can_be_null=True,
                                                                   null_values=[""]))
        else:
            raise DataError(f"{what} are in no known format", got=file.name, expected=".parquet, .csv, .csv.gz or .tsv")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{what} cannot be read", got=str(file), hint=str(error).splitlines()[0]) from None
    absent = [name for name in names if name not in rows.column_names]
    if absent:
        raise DataError(f"{what} lack columns {', '.join(absent)}", got=rows.column_names, expected=", ".join(names),
                        field=f"{what}.{absent[0]}")
    twice = sorted(name for name, times in Counter(rows.column_names).items() if times > 1)
    if twice:
        raise DataError(f"{what} hold columns twice: {', '.join(twice)}", got=rows.column_names,
                        field=f"{what}.{twice[0]}")
    return rows


def _contexts(rows: pa.Table, users: list[str], number: dict[str, int]) -> list[Context]:
    """Per chosen user the first value of every further column."""
    found: list[Context] = [{} for _ in number]
    for user, context in zip(users, contexts(rows, _OWN), strict=True):
        if user in number:
            for name, value in context.items():
                found[number[user]].setdefault(name, value)
    return found


def contexts(rows: pa.Table, own: Collection[str]) -> list[Context]:
    """Of each row the columns that are not its `own`, without those that are null."""
    found: list[Context] = [{} for _ in range(rows.num_rows)]
    for name in rows.column_names:
        if name in own:
            continue
        kind, column = rows[name].type, rows[name]
        if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
                or pa.types.is_boolean(kind)):
            try:
                column = column.cast(pa.string())
            except pa.ArrowException:
                raise DataError("a context column must hold plain values", got=str(kind),
                                field=f"interactions.{name}") from None
        for context, value in zip(found, column.to_pylist(), strict=True):
            if value is not None:
                context[name] = value
    return found
