"""off_policy: what the contested slots of an interleaved period would have earned at another share, by the log's own propensities.

A slot that the two models contested was the candidate's with a chance that stands in the log, and a coin decided. So the
log of a share p tells of a share s: weights s / p for the candidate's slots, (1 - s) / (1 - p) for the champion's. s = 1
is the candidate alone, s = 0 the champion alone. What stood before a slot is its context, as it was.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.errors import DataError, NotFoundError
from incumbent.events.window import Window
from incumbent.experiments.credit import BARRED
from incumbent.loop.left_out import without
from incumbent.metrics.offline import OffPolicy, off_policy
from incumbent.stats.buckets import bucket_of
from incumbent.stores.store import Lake

ACTIONS = ("click", "add_to_cart", "purchase")
HORIZON_DAYS = 7.0
FOLDS, PRIOR = 5, 20.0  # of users, who predict one another; slots of the mean over all positions
_COLUMNS = ["request_id", "time", "user_id", "surface", "experiment", "slots"]
_FEEDBACK = ["event_id", "time", "user_id", "item_id", "action", "request_id", "marks"]


@dataclass(frozen=True, eq=False)
class Contested:
    """The contested slots of a period: who had each, with which chance, and whether the shopper acted on it.

    `counts`: requests, users, slots, slots acted on, and events that name none of the requests (they are not counted).
    """

    experiment: str
    period: Window
    user_id: list[str]
    candidate: list[bool]
    position: list[int]
    propensity: list[float]
    reward: list[float]
    counts: dict[str, int]

    def at(self, share: float, *, clip: float | None = None) -> OffPolicy:
        """What a contested slot would have earned at this share of the candidate's; `DataError` outside [0, 1].

        Doubly robust by the mean reward of model and position among other users.
        """
        if not 0 <= share <= 1:
            raise DataError("share must be in [0, 1]", got=share, hint="5 % is 0.05", field="--share")
        target = [share if own else 1 - share for own in self.candidate]
        ours, theirs = self.predictions
        return off_policy({
            "user_id": self.user_id, "reward": self.reward, "propensity": self.propensity, "target": target,
            "predicted": np.where(self.candidate, theirs, ours), "expected": share * theirs + (1 - share) * ours,
        }, clip=clip)

    @cached_property
    def predictions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The reward that a slot of the champion's, and one of the candidate's, has at its position: by other users.

        The mean at that position over the users of the other `FOLDS` (by their hash), drawn towards the model's mean
        over all positions by `PRIOR` slots; so no slot is predicted by its own user.
        """
        fold, reward = bucket_of(self.user_id, FOLDS), np.array(self.reward)
        place, own = np.unique(self.position, return_inverse=True)[1], np.array(self.candidate)
        size = int(place.max()) + 1
        sides = []
        for mine in (~own, own):
            cell = fold * size + place
            counts, sums = (np.bincount(cell[mine], weights=weights, minlength=FOLDS * size).reshape(FOLDS, size)
                            for weights in (None, reward[mine]))
            n, total = counts.sum(axis=0) - counts, sums.sum(axis=0) - sums  # of the other folds
            mean = total.sum(axis=1) / np.maximum(n.sum(axis=1), 1)
            sides.append(((total + PRIOR * mean[:, None]) / (n + PRIOR))[fold, place])
        return sides[0], sides[1]


def contested(
    lake: Lake, period: Window, *, surface: str, experiment: str | None = None, actions: Sequence[str] = ACTIONS,
    left_out: AbstractSet[str] = frozenset(),
) -> Contested:
    """The slots of an experiment's interleaved requests that have a propensity, with 1 where the shopper acted on one.

    Acted on: one of `actions` within `HORIZON_DAYS` after the request, by its user, on its item, naming the request,
    not barred, and none of the events `left_out`. `DataError` where the period has no contested slot, or several
    experiments and none is named; `NotFoundError` for an experiment that is not in it.
    """
    shown = lake.scan("impression", period, columns=_COLUMNS)
    shown = shown.filter(pc.and_(pc.equal(shown["surface"], surface), pc.is_valid(shown["experiment"])))
    shown = shown.filter(pc.equal(shown["experiment"], experiment_of(shown, experiment, period)))
    name = shown["experiment"][0].as_py()
    acted = acted_on(lake, period, actions, shown, left_out)
    users: list[str] = []
    owner: list[bool] = []
    position: list[int] = []
    chance: list[float] = []
    reward: list[float] = []
    requests = 0
    for row in shown.sort_by("request_id").to_pylist():
        fair = [slot for slot in row["slots"] if slot["propensity"] is not None and slot["owner"] is not None]
        requests += bool(fair)
        for slot in fair:
            users.append(row["user_id"])
            owner.append(slot["owner"] == "candidate")
            position.append(slot["position"])
            chance.append(slot["propensity"])
            reward.append(float((row["user_id"], row["request_id"], slot["item_id"]) in acted))
    if not users:
        raise DataError("no contested slot has a propensity", got=name, field="--data",
                        hint="shadow shows none of the candidate's, and one coin a list leaves none")
    known = set(shown["request_id"].to_pylist())
    counts = {"requests": requests, "users": len(set(users)), "slots": len(users), "acted_on": int(sum(reward)),
              "events_of_other_requests": sum(request not in known for _, request, _ in acted)}
    return Contested(name, period, users, owner, position, chance, reward, counts)


def experiment_of(shown: pa.Table, experiment: str | None, period: Window) -> str:
    """The experiment that is named, or the only one of the requests."""
    names = sorted(pc.unique(shown["experiment"]).to_pylist())
    if experiment is not None and experiment not in names:
        raise NotFoundError("no request of that experiment in the period", got=experiment, field="--experiment",
                            expected="one of " + (", ".join(names) or "none"))
    if not names:
        raise DataError("no experiment in the period", field="--data", expected="interleaved requests",
                        got=f"{period.start:%Y-%m-%d}..{period.end - timedelta(days=1):%Y-%m-%d}")
    if experiment is None and len(names) > 1:
        raise DataError("several experiments in the period", got=names, expected="--experiment NAME",
                        field="--experiment")
    found: str = experiment or names[0]
    return found


def acted_on(lake: Lake, period: Window, actions: Sequence[str], shown: pa.Table,
             left_out: AbstractSet[str]) -> set[tuple[str, Any, str]]:
    """(user, request, item) of the feedback that counts; that of requests which are not `shown` too."""
    rows = lake.scan("feedback", Window(period.start, period.end + timedelta(days=HORIZON_DAYS)), columns=_FEEDBACK)
    rows = without(rows.filter(pc.is_in(rows["action"], pa.array(list(actions), pa.string()))), left_out)
    asked = dict(zip(shown["request_id"].to_pylist(), shown["time"].to_pylist(), strict=True))
    barred, none, horizon = frozenset(BARRED), timedelta(0), timedelta(days=HORIZON_DAYS)
    return {(row["user_id"], row["request_id"], row["item_id"]) for row in rows.to_pylist()
            if not barred.intersection(row["marks"] or ())
            and none <= row["time"] - asked.get(row["request_id"], row["time"]) <= horizon}
