"""off_policy_model: what a model that was never served would have earned, by the log of those that were.

Each logged action is one item, shown with a known chance where others could have stood. The model is asked the same
request; where it would have shown the item that was shown, the row counts with weight 1 / chance, elsewhere with 0.
What it would have shown and the log could not is out of reach: where that is much, there is a reason and no number.

In an interleaved period the actions are the first slots of the rounds, where each model's best unshown item stood with
its chance (`experiments.pair_draft`); what stood before a slot is its context, as it was. In a file they are its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.clock import Clock
from incumbent.errors import DataError
from incumbent.events.plan import ModelPlan
from incumbent.events.window import Window
from incumbent.loop.evaluation.ask_models import ask_models
from incumbent.loop.evaluation.held_out import HeldOut
from incumbent.loop.evaluation.held_out_file import contexts, read_table
from incumbent.loop.evaluation.held_out_lake import from_lake
from incumbent.loop.evaluation.off_policy import ACTIONS, FOLDS, acted_on, experiment_of
from incumbent.loop.left_out import Standing
from incumbent.metrics.expectation_file import GateConfig
from incumbent.metrics.frames import as_ids, numbers
from incumbent.metrics.metric import Side
from incumbent.metrics.offline import OffPolicy, off_policy
from incumbent.models.recommender import Ask
from incumbent.stats.buckets import bucket_of
from incumbent.stores.store import Lake

REQUESTS = 20_000  # of a period, whole users by their hash
_CLEANED = ("delisted=", "excluded=")
_OWN = {"user_id", "item_id", "reward", "propensity", "position", "time"}


@dataclass(frozen=True, eq=False)
class Action:
    """One logged action: the `request` it belongs to, what stood above it, the item, which ones could have stood there,
    the chance of this one, and what came of it."""

    request: int
    before: frozenset[str]
    item: str
    reach: frozenset[str]
    propensity: float
    position: int
    reward: float


@dataclass(frozen=True, eq=False)
class Logged:
    """The actions of a log, the requests that they answer, and what was counted on the way."""

    source: str
    asks: list[Ask]
    actions: list[Action]
    counts: dict[str, int]


def of_model(logged: Logged, plan: ModelPlan, clock: Clock, *, k: int, clip: float | None = None,
             ) -> tuple[OffPolicy, dict[str, int]]:
    """What the model would have earned per action, and how its items met the log's: `matched`, `out_of_reach`, `without_item`.

    Its item is the best of its list (asked of depth `k`) that does not stand above and that the shopper does not exclude.
    Doubly robust by the mean reward at the position among other users. Every estimate is refused, with the reason, where
    the effective sample is too small or too much is out of reach (`Importance.refusal`).
    """  # noqa: E501
    held = HeldOut(logged.source, logged.asks, np.full(len(logged.asks), np.nan), Side(), {})
    [asked] = ask_models(held, (plan,), GateConfig(k=k), clock)
    target, uncovered = [], []
    counts = {"matched": 0, "out_of_reach": 0, "without_item": 0}
    for action in logged.actions:
        answer, ask = asked.answers[action.request], logged.asks[action.request]
        items = answer.items if answer.status == "ok" else []
        own = next((item for item in items if item not in action.before and item not in ask.exclude), None)
        there = own in action.reach
        target.append(float(own == action.item))
        uncovered.append(float(not there))
        counts["matched"] += own == action.item
        counts["out_of_reach"] += own is not None and not there
        counts["without_item"] += own is None
    users = [logged.asks[action.request].user_id for action in logged.actions]
    reward = [action.reward for action in logged.actions]
    usual = _by_others(users, [action.position for action in logged.actions], reward)
    return off_policy({
        "user_id": users, "reward": reward, "propensity": [action.propensity for action in logged.actions],
        "target": target, "predicted": usual, "expected": usual, "uncovered": uncovered}, clip=clip), counts


def of_period(
    lake: Lake, period: Window, *, surface: str, experiment: str | None = None, actions: Sequence[str] = ACTIONS,
    excluded: Standing | None = None, requests: int = REQUESTS,
) -> Logged:
    """The first slot of every round of an experiment's interleaved first pages; errors as of `contested`.

    Lists from which the gateway took items out (delisted, excluded) are left out and counted: what else could have
    stood there is not in the log.
    """
    standing = excluded or Standing()
    held = from_lake(lake, period, GateConfig(requests=requests), surface=surface, excluded=standing)
    place = {ask.request_id: n for n, ask in enumerate(held.asks)}
    shown = lake.scan("impression", period, columns=[
        "request_id", "time", "user_id", "surface", "experiment", "slots", "models", "page"])
    shown = shown.filter(pc.and_(pc.equal(shown["surface"], surface), pc.is_valid(shown["experiment"])))
    name = experiment_of(shown, experiment, period)
    shown = shown.filter(pc.and_(pc.equal(shown["experiment"], name), pc.equal(shown["page"], 1)))
    shown = shown.filter(pc.is_in(shown["request_id"], pa.array(list(place), pa.string())))
    acted = acted_on(lake, period, actions, shown, standing.left_out())
    found: list[Action] = []
    cleaned = 0
    for row in shown.sort_by("request_id").to_pylist():
        if any(word in (model["reason"] or "") for model in row["models"] for word in _CLEANED):
            cleaned += 1
            continue
        for slot, before, reach, chance in rounds(row["slots"], {model["role"]: model["items"] or ()
                                                                 for model in row["models"]}):
            done = (row["user_id"], row["request_id"], slot["item_id"]) in acted
            found.append(Action(place[row["request_id"]], before, slot["item_id"], reach, chance, slot["position"],
                                float(done)))
    if not found:
        raise DataError("no slot of the period has a propensity", got=name, field="--data",
                        hint="shadow shows none of the candidate's, and one coin a list leaves none")
    counts = {"requests": len({action.request for action in found}), "slots": len(found),
              "acted_on": int(sum(action.reward for action in found)), "requests_with_items_taken_out": cleaned}
    return Logged(f"{name}, {held.source}", held.asks, found, counts)


def rounds(slots: Sequence[dict[str, Any]], lists: dict[str, Sequence[str]],
           ) -> Iterator[tuple[dict[str, Any], frozenset[str], frozenset[str], float]]:
    """Of a draft's slots those that begin a round: slot, what stands above, what could have stood there, its chance.

    A shared or uncontested item was certain; of the others the second item is the other list's best that does not stand
    above. Pinned slots and filler are context.
    """
    above: list[str] = []
    second: object = None  # what the slot after the first of a pair, or of two solo ones, is
    for slot in sorted(slots, key=lambda one: one["position"]):
        item, kind, chance = slot["item_id"], slot["kind"], slot["propensity"]
        before, is_second = frozenset(above), second is not None and second == (kind, slot["pair_id"])
        above.append(item)
        second = None if is_second or kind not in ("pair", "solo") else (kind, slot["pair_id"])
        if is_second or kind in ("pinned", "filler"):
            continue
        if kind in ("shared", "uncontested"):
            yield slot, before, frozenset({item}), 1.0
        elif chance is not None:
            rival = "champion" if slot["owner"] == "candidate" else "candidate"
            other = next((one for one in lists.get(rival, ()) if one not in before), None)
            if other is not None:
                yield slot, before, frozenset({item, other}), chance


def of_file(path: str | Path) -> Logged:
    """The rows of a log (Parquet or CSV): user_id, item_id, reward, propensity, perhaps position; the rest is context.

    Rows of one user in one context are one request. What could have been shown is what the log has anywhere.
    """
    rows = read_table(path, "logged", ("user_id", "item_id", "reward", "propensity"))
    ids = {name: as_ids(rows[name].combine_chunks(), f"logged.{name}").cast(pa.string()).to_pylist()
           for name in ("user_id", "item_id")}
    chance, reward = (numbers(rows[name].combine_chunks(), f"logged.{name}") for name in ("propensity", "reward"))
    place = rows["position"].to_pylist() if "position" in rows.column_names else [1] * rows.num_rows
    number: dict[tuple[str, tuple[Any, ...]], int] = {}
    asks: list[Ask] = []
    found: list[Action] = []
    reach = frozenset(item for item in ids["item_id"] if item is not None)
    for at, context in enumerate(contexts(rows, _OWN)):
        user, item = ids["user_id"][at], ids["item_id"][at]
        if user is None or item is None:
            continue
        key = (user, tuple(context.items()))
        if key not in number:
            number[key] = len(asks)
            asks.append(Ask(user, "file", 1, context, request_id=f"request-{len(asks)}"))
        found.append(Action(number[key], frozenset(), item, reach, float(chance[at]), place[at] or 1,
                            float(reward[at])))
    if not found:
        raise DataError("no logged action", got=str(path), expected="a row with a user and an item, or more",
                        field="--data")
    counts = {"requests": len(asks), "rows": len(found), "rows_without_id": rows.num_rows - len(found)}
    return Logged(str(path), asks, found, counts)


def _by_others(users: Sequence[str], position: Sequence[int], reward: Sequence[float]) -> list[float]:
    """The mean reward at the position over the users of the other folds, by their hash."""
    fold, own = bucket_of(users, FOLDS), np.nan_to_num(np.array(reward))
    place = np.unique(np.array(position), return_inverse=True)[1]
    size = int(place.max()) + 1
    counts, sums = (np.bincount(fold * size + place, weights=weights, minlength=FOLDS * size).reshape(FOLDS, size)
                    for weights in (None, own))
    others = (sums.sum(axis=0) - sums) / np.maximum(counts.sum(axis=0) - counts, 1)
    found: list[float] = others[fold, place].tolist()
    return found


def depth(logged: Logged) -> int:
    """How deep the model is asked: what may stand above an action, and its own item."""
    return max(len(action.before) for action in logged.actions) + 1

