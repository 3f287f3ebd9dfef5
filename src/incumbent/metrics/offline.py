"""Offline evaluation of another policy from logged propensities: frames in, IPS, SNIPS and doubly robust out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import code_together, columns, numbers
from incumbent.stats.bounded_share import within
from incumbent.stats.estimate import Estimate
from incumbent.stats.importance import MIN_ROWS, MIN_USERS, Importance

WHAT = "logged"
_NEEDED = ("user_id", "reward", "propensity", "target")
_OPTIONAL = ("predicted", "expected", "uncovered")


@dataclass(frozen=True, eq=False)
class OffPolicy:
    """What a log says of a policy that it did not follow. `state` adds over logs of different users only.

    `counts`: rows, users, rows without a user, rows with a missing number. `largest_share`: the part of the weight that
    one user carries. `bounded`: every reward lies in [0, 1], so what stays in the range of the rewards does (snips and
    on_policy), and so do their intervals (`stats.bounded_share` over the effective users).
    """

    state: Importance
    counts: dict[str, int]
    largest_share: float
    min_rows: float
    min_users: float
    bounded: bool = False

    @property
    def refused(self) -> str | None:
        """Why there are no estimates, None where there are."""
        return self.state.refusal(min_rows=self.min_rows, min_users=self.min_users)

    def estimates(self, *, alpha: float = 0.05, unit: str = "") -> dict[str, Estimate]:
        """ips, snips, doubly_robust (missing without a reward model), gain, on_policy, mean_weight."""
        limits = {"min_rows": self.min_rows, "min_users": self.min_users}
        s = self.state
        snips, on_policy = s.snips(alpha=alpha, unit=unit, **limits), s.on_policy(alpha=alpha, unit=unit)
        if self.bounded:
            snips = within(snips, int(s.effective_users), alpha=alpha)
            on_policy = within(on_policy, self.counts["users"], alpha=alpha)
        return {
            "ips": s.ips(alpha=alpha, unit=unit, **limits), "snips": snips,
            "doubly_robust": s.doubly_robust(alpha=alpha, unit=unit, **limits),
            "gain": s.gain(alpha=alpha, unit=unit, **limits),
            "on_policy": on_policy, "mean_weight": s.mean_weight(alpha=alpha)}


def off_policy(
    logged: Any, *, clip: float | None = None, min_rows: float = MIN_ROWS, min_users: float = MIN_USERS,
) -> OffPolicy:
    """The reward that a target policy would have had, from the log of another.

    `logged` (pandas, Polars, PyArrow, or a mapping of columns) has a row per logged action: user_id, reward,
    propensity in (0, 1] with which it was taken, and target, the probability in [0, 1] with which the target policy
    takes it. With predicted (a model's reward of that action) and expected (its mean under the target policy) the
    estimate is doubly robust too; fit the model on other users. uncovered: the target's probability of actions that
    could not have been logged in that row.

    Rows without a user, or with a missing number, are left out and counted. Intervals are clustered by user. Refused,
    with the reason, where the effective sample is below `min_rows` or `min_users`, and for the other reasons of
    `Importance.refusal`. `DataError` for absent columns, probabilities out of range, and a predicted without expected.

    >>> log = {"user_id": [n % 75 for n in range(400)], "reward": [0, 0, 0, 1] * 100,
    ...        "propensity": [0.75, 0.75, 0.75, 0.25] * 100, "target": [0.5] * 400}
    >>> done = off_policy(log)
    >>> round(done.estimates()["snips"].value, 3), round(done.state.effective_rows), done.refused
    (0.5, 300, None)
    """
    found = columns(logged, WHAT, _NEEDED, _OPTIONAL)
    if ("predicted" in found) != ("expected" in found):
        raise DataError("a reward model gives two columns", got=sorted(set(found) & {"predicted", "expected"}),
                        expected="predicted and expected, or neither", field=WHAT)
    (users,), _ = code_together({f"{WHAT}.user_id": found.pop("user_id")})
    values = {name: _numbers(column, name) for name, column in found.items()}
    for name, least in (("propensity", np.nextafter(0, 1)), ("target", 0.0), ("uncovered", 0.0)):
        _in_range(values.get(name, np.zeros(0)), name, float(least))
    there = users >= 0
    codes, cluster = np.unique(users[there], return_inverse=True)
    state = Importance.zero(k=max(2, len(codes)), clip=clip, model="predicted" in values)
    given = {name: column[there] for name, column in values.items()}
    weight = given["target"] / given["propensity"]
    state = state.update(cluster.astype(np.int64), weight, given["reward"], **{
        name: given[name] for name in _OPTIONAL if name in given})
    carried = np.bincount(cluster, weights=np.nan_to_num(weight), minlength=1)
    counts = {"rows": state.n, "users": int((state.rows > 0).sum()), "rows_without_user": int((~there).sum()),
              "rows_with_missing_number": int(state.missing)}
    seen = given["reward"][np.isfinite(given["reward"])]
    return OffPolicy(state, counts, float(carried.max() / carried.sum()) if carried.sum() > 0 else 0.0, min_rows,
                     min_users, bool(((seen >= 0) & (seen <= 1)).all()))


def _numbers(column: pa.Array, name: str) -> NDArray[np.float64]:
    return numbers(column.cast(pa.float64()) if pa.types.is_boolean(column.type) else column, f"{WHAT}.{name}")


def _in_range(values: NDArray[np.float64], name: str, least: float) -> None:
    wrong = (values < least) | (values > 1)
    if wrong.any():
        raise DataError(f"{name} is no probability", got=float(values[wrong][0]), field=f"{WHAT}.{name}",
                        expected="(0, 1]" if least else "[0, 1]",
                        hint="an action that could not be taken cannot have been logged" if least else None)
