"""held_out_lake: the logged requests of a period, what their shoppers then wanted, and what was known before."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.errors import DataError
from incumbent.events.window import Window
from incumbent.experiments.credit import BARRED
from incumbent.loop.evaluation.held_out import HeldOut, pairs_table, popularity_table, whole_users
from incumbent.loop.left_out import Standing, without
from incumbent.metrics.expectation_file import GateConfig
from incumbent.metrics.metric import Side
from incumbent.models.recommender import Ask
from incumbent.stores.store import Lake

_REQUEST = ["request_id", "time", "user_id", "session_id", "surface", "context", "page"]
_FEEDBACK = ["event_id", "time", "user_id", "item_id", "action", "marks"]
_SECOND = 1_000_000
_BARRED = frozenset(BARRED)


@dataclass(frozen=True)
class _Done:
    """A user's actions of some kind, by time in microseconds."""

    times: list[int]
    items: list[str]
    events: list[str]


def from_lake(lake: Lake, period: Window, gate: GateConfig, *, surface: str,
              excluded: Standing | None = None) -> HeldOut:
    """The first pages that `surface` answered in the period, at most ``gate.requests``, whole users by their hashes.

    Wanted is what the user did (``gate.relevant``) within ``gate.horizon_days`` after the request; the history is what
    they did so in the ``gate.history_days`` before the period, and in it before the request; neither has events that
    their shoppers have `excluded`. A request carries what its shopper had excluded at that time. What a shopper could
    do hangs on what they were shown: items that the log never showed have no clicks, whichever model would bring them.
    `DataError` where the period has no request.
    """
    shown = lake.scan("impression", period, columns=_REQUEST)
    shown = shown.filter(pc.and_(pc.equal(shown["surface"], surface), pc.equal(shown["page"], 1)))
    if not shown.num_rows:
        raise DataError("no request in the period", field="--data",
                        expected=f"requests of surface {surface!r} in the lake",
                        got=f"{period.start:%Y-%m-%d}..{period.end - timedelta(days=1):%Y-%m-%d}",
                        hint="what was just served is sealed within [loop] seal_s")
    shown = shown.sort_by([("time", "ascending"), ("request_id", "ascending")])
    total = shown.num_rows
    users_all = len(pc.unique(shown["user_id"]))
    shown = shown.take(pa.array(whole_users(shown["user_id"].to_pylist(), gate.requests)))
    reach = Window(period.start - timedelta(days=gate.history_days), period.end + timedelta(days=gate.horizon_days))
    feedback = lake.scan("feedback", reach, columns=_FEEDBACK)
    feedback = feedback.filter(pa.array([not _BARRED.intersection(marks or ()) for marks in
                                         feedback["marks"].to_pylist()], pa.bool_()))
    standing = excluded or Standing()
    wanted = without(feedback.filter(pc.is_in(feedback["action"], pa.array(gate.relevant))), standing.left_out())
    start_us = round(period.start.timestamp() * _SECOND)
    before = wanted.filter(pc.less(_micros(wanted), start_us))
    asks, times = _asks(shown, standing, gate, surface)
    people = len({ask.user_id for ask in asks})
    done = _per_user(wanted, shown)
    side = Side(**_wishes(asks, times, done, gate),
                popularity=popularity_table(Counter(before["item_id"].to_pylist())), catalogue=_catalogue(lake),
                vectors=_vectors(lake, gate))
    counts = {"requests": len(asks), "users": people, "requests_left_out": total - len(asks),
              "users_left_out": users_all - people,
              "requests_without_wishes": len(asks) - len(pc.unique(side.relevant["user_id"]))}
    notes = ["shoppers could only want what they were shown: a model whose items the log never showed is judged low"]
    if side.popularity is None:
        notes.append(f"no interactions in the {gate.history_days} days before the period: no popularity")
    return HeldOut(f"{surface} {period.start:%Y-%m-%d} to {period.end - timedelta(days=1):%Y-%m-%d}", asks,
                   np.array(times) / _SECOND, side, counts, notes,
                   [done[ask.user_id].events[:bisect_left(done[ask.user_id].times, at)] if ask.user_id in done else []
                    for ask, at in zip(asks, times, strict=True)])


def _micros(rows: pa.Table) -> pa.ChunkedArray:
    return rows["time"].cast(pa.int64())


def _per_user(rows: pa.Table, shown: pa.Table) -> dict[str, _Done]:
    """The actions of the users who were shown something, each user's by time."""
    rows = rows.filter(pc.is_in(rows["user_id"], pc.unique(shown["user_id"]))).sort_by("time")
    found: dict[str, _Done] = {}
    for user, at, item, event in zip(rows["user_id"].to_pylist(), _micros(rows).to_pylist(),
                                     rows["item_id"].to_pylist(), rows["event_id"].to_pylist(), strict=True):
        done = found.setdefault(user, _Done([], [], []))
        done.times.append(at)
        done.items.append(item)
        done.events.append(event)
    return found


def _asks(shown: pa.Table, standing: Standing, gate: GateConfig, surface: str) -> tuple[list[Ask], list[int]]:
    asks, times = [], _micros(shown).to_pylist()
    for row, at in zip(shown.to_pylist(), times, strict=True):
        items, categories, events = standing.at(row["user_id"], at)
        asks.append(Ask(row["user_id"], surface, gate.k, json.loads(row["context"] or "{}"), row["session_id"], items,
                        row["request_id"], exclude_categories=categories, ignore_events=events))
    return asks, times


def _wishes(asks: list[Ask], times: list[int], wanted: dict[str, _Done], gate: GateConfig) -> dict[str, pa.Table]:
    """`relevant`, `history` and `excluded` of the side, by request."""
    horizon = round(gate.horizon_days * 86_400 * _SECOND)
    relevant: dict[tuple[int, str], None] = {}
    history: dict[tuple[int, str], None] = {}
    for n, (ask, at) in enumerate(zip(asks, times, strict=True)):
        done = wanted.get(ask.user_id)
        if done is not None:
            now, until = bisect_right(done.times, at), bisect_right(done.times, at + horizon)
            relevant.update(dict.fromkeys((n, item) for item in done.items[now:until]))
            history.update(dict.fromkeys((n, item) for item in done.items[:bisect_left(done.times, at)]))
    excluded = [(n, item) for n, ask in enumerate(asks) for item in ask.exclude]
    since = pa.array([times[n] / _SECOND for n, _ in excluded], pa.float64())
    return {"relevant": pairs_table(relevant), "history": pairs_table(history),
            "excluded": pairs_table(excluded, since=since)}


def _catalogue(lake: Lake) -> pa.Table | None:
    """Every item by its newest fact, with category and since when it is delisted; None where the lake has none."""
    rows = lake.scan("item", columns=["item_id", "time", "event_id", "listed", "category"])
    if not rows.num_rows:
        return None
    newest: dict[str, Any] = {}
    for row in rows.sort_by([("time", "ascending"), ("event_id", "ascending")]).to_pylist():
        newest[row["item_id"]] = row
    delisted = [None if row["listed"] is not False else row["time"].timestamp() for row in newest.values()]
    return pa.table({"item_id": pa.array(list(newest), pa.string()), "delisted_at": pa.array(delisted, pa.float64()),
                     "category": pa.array([row["category"] for row in newest.values()], pa.string())})


def _vectors(lake: Lake, gate: GateConfig) -> pa.Table | None:
    """The item vectors of the space and version that spoke last; None where no expectation is of vectors."""
    if not any(one.metric.startswith("diversity") for one in gate.expect):
        return None
    rows = lake.scan("embedding", columns=["time", "space", "version", "entity", "entity_id", "vector"])
    rows = rows.filter(pc.equal(rows["entity"], "item")).sort_by("time")
    if not rows.num_rows:
        return None
    last = rows.slice(rows.num_rows - 1)
    for name in ("space", "version"):
        rows = rows.filter(pc.equal(rows[name], last[name][0]))
    found = dict(zip(rows["entity_id"].to_pylist(), rows["vector"].to_pylist(), strict=True))
    return pa.table({"item_id": pa.array(list(found), pa.string()),
                     "vector": pa.array(list(found.values()), pa.list_(pa.float32()))})
