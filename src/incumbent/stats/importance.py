"""Importance: what another policy would have earned, by the log of the one that was followed. IPS, SNIPS, DR.

A row is one action that was logged with its propensity p; the target policy takes it with probability t; its weight is
``w = t / p``. Sums are kept per cluster of users (a user, or a bucket of users), which are the units of inference.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats import fixed
from incumbent.stats.array_state import ArrayState
from incumbent.stats.clustered import ratio, spread
from incumbent.stats.estimate import Estimate

MIN_ROWS, MIN_USERS = 100.0, 20.0  # effective; below, one shopper's luck is the estimate
MAX_CUT, MIN_SUPPORT = 0.1, 0.9  # of the target's weight: what clipping may take, what the log must reach
_SURE = 0.001  # two-sided: how sure it must be that the weights do not average 1
_SUMS = ("weight", "weight_sq", "used", "used_sq", "weighted", "robust", "reward", "uncovered", "clipped")


class Importance(ArrayState):
    """Per cluster of users: rows and the sums behind IPS, SNIPS, DR and their effective sample sizes. They add.

    `clip` bounds the weights (``u = min(w, clip)``; None: no bound), `model` says that rows bring the predictions of a
    reward model. A row with a value that is not finite is left out whole and counted in `missing`. Every estimate is
    refused, with the reason, where `refusal` has one.

    >>> s = Importance.zero(k=200).update(np.arange(200), [0.5, 1.5] * 100, [1.0, 0.0] * 100)
    >>> s.ips().value, s.snips().value, s.on_policy().value, s.effective_rows
    (0.25, 0.25, 0.5, 160.0)
    """

    name = "importance"
    version = 1
    tags = frozenset({"subtract"})
    arrays: ClassVar[dict[str, str]] = {"rows": "<i8", "missing": "<i8", "sums": "<f8"}
    example_configs = ({"k": 4}, {"k": 4, "clip": 2.0}, {"k": 8, "model": True})
    golden: ClassVar[dict[int, tuple[str, dict[str, float]]]] = {1: (
        "495301940000007b22617272617973223a5b5b22726f7773222c223c6938222c5b345d5d2c5b226d697373696e67222c223c"
        "6938222c5b5d5d2c5b2273756d73222c223c6638222c5b342c395d5d5d2c22636f6e666967223a7b22636c6970223a6e756c"
        "6c2c226b223a342c226d6f64656c223a66616c73657d2c226e616d65223a22696d706f7274616e6365222c2276657273696f"
        "6e223a317d02000000000000000100000000000000010000000000000001000000000000000000000000000000684f45af07"
        "cdf93fa96c8aa91bcff43f684f45af07cdf93fa96c8aa91bcff43fe3f71fc53988e73f40d022a54fb1e53fd6f168ad88d5ec"
        "3f00000000000000000000000000000000bfb42bc12ea9cc3fdf29294890aba93fbfb42bc12ea9cc3fdf29294890aba93f84"
        "615fcecce2a13f5cd361523b5a953fa0ca9e9f40f8c33f00000000000000000000000000000000e17002064bebe33f231c76"
        "5b56ccd83fe17002064bebe33f231c765b56ccd83f690bf3865ddad23f4b84587a0291e23f5e88a0d98a49de3f0000000000"
        "0000000000000000000000f306989de8a3024079e956835ab71540f306989de8a3024079e956835ab71540b1455ea59dd8e4"
        "3fa9d3287e1ee2ee3f44eb975eb8e4d13f00000000000000000000000000000000",
        {'on_policy': 0.36198067122148986, 'mean_weight': 0.9577950042557444})}
    rows: NDArray[np.int64]
    missing: NDArray[np.int64]
    sums: NDArray[np.float64]

    @classmethod
    def zero(cls, *, k: int = 256, clip: float | None = None, model: bool = False, **unknown: Any) -> Self:
        """Nothing seen yet, in k clusters (2 and more), weights cut at `clip` (above 0)."""
        if unknown:
            raise DataError("unknown setting of a state", got=sorted(unknown), expected="k, clip, model")
        if isinstance(k, bool) or not isinstance(k, int) or k < 2:
            raise DataError("k must be a whole number of at least 2", got=k, field="k")
        if clip is not None and not (isinstance(clip, Real) and 0 < clip < math.inf):
            raise DataError("clip must be above 0", got=clip, field="clip", hint="None keeps the weights as they are")
        settings = {"k": k, "clip": None if clip is None else float(clip), "model": bool(model)}
        return cls(settings, rows=np.zeros(k), missing=0, sums=np.zeros((k, len(_SUMS))))

    @property
    def empty(self) -> bool:
        """True where no row was seen, not even a missing one."""
        return not self.rows.any() and int(self.missing) == 0

    def update(
        self, cluster: ArrayLike, weight: ArrayLike, reward: ArrayLike, predicted: ArrayLike = 0.0,
        expected: ArrayLike = 0.0, uncovered: ArrayLike = 0.0,
    ) -> Self:
        """Add rows, (m,): the `cluster` in [0, k) of each user, `weight` of 0 and more, and `reward`.

        With `model`: `predicted` is the model's reward of the logged action, `expected` its mean under the target
        policy. `uncovered` in [0, 1] is the target's probability of actions that could not have been logged here.
        """
        where, k = np.asarray(cluster), len(self.rows)
        parts = np.broadcast_arrays(*(np.asarray(part, np.float64) for part in (
            weight, reward, predicted, expected, uncovered)))
        if where.ndim != 1 or any(part.shape != where.shape for part in parts):
            raise DataError("one value per row", got=[part.shape for part in (where, *parts)], field="weight")
        if len(where) and (where.dtype.kind not in "iu" or where.min() < 0 or where.max() >= k):
            raise DataError("cluster out of range", got=(where.min(), where.max()), expected=f"integers in [0, {k})",
                            field="cluster")
        good = np.isfinite(np.stack(parts)).all(axis=0)
        where = where[good].astype(np.int64)
        w, r, q, v, u = (part[good] for part in parts)
        if len(w) and w.min() < 0:
            raise DataError("a weight is negative", got=float(w.min()), field="weight")
        clip = self._config["clip"]
        used = w if clip is None else np.minimum(w, clip)
        columns = (w, w * w, used, used * used, used * r, v + used * (r - q), r, u, (w > used).astype(np.float64))
        sums = np.stack([np.bincount(where, weights=column, minlength=k) for column in columns], axis=1)
        return self._with(rows=self.rows + np.bincount(where, minlength=k), sums=self.sums + sums,
                          missing=self.missing + int((~good).sum()))

    def _combine(self, other: Self, sign: int) -> Self:
        rows, missing = self.rows + sign * other.rows, self.missing + sign * other.missing
        if rows.min() < 0 or missing < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        return self._with(rows=rows, missing=missing, sums=np.where(
            rows[:, None] == 0, 0.0, self.sums + sign * other.sums))

    # ---------------------------------------------------------------------------------------------- what it stands on
    @property
    def n(self) -> int:
        """Rows."""
        return int(self.rows.sum())

    @property
    def effective_rows(self) -> float:
        """``(sum u)^2 / sum u^2`` over rows, 0 without weight. Source: L. Kish, Survey Sampling (1965), 11.7."""
        return _kish(self._of("used").sum(), self._of("used_sq").sum())

    @property
    def effective_users(self) -> float:
        """The same over clusters, with the weight that each carries: what the intervals have to go by."""
        per = self._of("used")
        return _kish(per.sum(), (per * per).sum())

    @property
    def cut(self) -> float:
        """The part of the target's weight that clipping takes away, in [0, 1]: by as much it is another policy."""
        whole = float(self._of("weight").sum())
        return 1 - float(self._of("used").sum()) / whole if whole > 0 else 0.0

    @property
    def support(self) -> float:
        """The part of the target's probability that falls on actions which could have been logged, 1 where unknown."""
        return 1 - float(self._of("uncovered").sum()) / self.n if self.n else 1.0

    def mean_weight(self, *, alpha: float = 0.05) -> Estimate:
        """The mean weight before clipping, `support` in expectation: 1 where the log covers the target policy."""
        return self._ratio(self._of("weight"), self.rows, "mean weight", alpha, "")

    def refusal(self, *, min_rows: float = MIN_ROWS, min_users: float = MIN_USERS) -> str | None:
        """Why there is no estimate, None where there may be one."""
        if not self.n:
            return f"all {int(self.missing)} rows are missing" if int(self.missing) else "no rows"
        if self.support < MIN_SUPPORT:
            return (f"the log could not have shown {1 - self.support:.0%} of what the target policy does; "
                    f"at most {1 - MIN_SUPPORT:.0%} may be out of its reach")
        if self.cut > MAX_CUT:
            return (f"clipping takes {self.cut:.0%} of the target policy's weight away; what is left is another policy "
                    f"(at most {MAX_CUT:.0%})")
        rows, users = self.effective_rows, self.effective_users
        if rows < min_rows or users < min_users:
            return (f"the effective sample is too small: {rows:.1f} of {self.n} rows (at least {min_rows:g}) and "
                    f"{users:.1f} users (at least {min_users:g})")
        mean = self.mean_weight(alpha=_SURE)
        if mean.low is not None and mean.high is not None and not mean.low <= self.support <= mean.high:
            return (f"the weights average {mean.value:.3g} where {self.support:.3g} is expected: the propensities are "
                    "not those of the log")
        return None

    # -------------------------------------------------------------------------------------------------- the estimates
    def ips(self, *, alpha: float = 0.05, unit: str = "", **limits: float) -> Estimate:
        """``mean(u r)``: unbiased without clipping. Source: Horvitz and Thompson, JASA 47 (1952)."""
        return self._judged(self._of("weighted"), self.rows, "IPS", alpha, unit, limits)

    def snips(self, *, alpha: float = 0.05, unit: str = "", **limits: float) -> Estimate:
        """``sum(u r) / sum(u)``: in the range of the rewards, less variance. Source: Swaminathan and Joachims, NIPS 2015."""  # noqa: E501
        return self._judged(self._of("weighted"), self._of("used"), "SNIPS", alpha, unit, limits)

    def doubly_robust(self, *, alpha: float = 0.05, unit: str = "", **limits: float) -> Estimate:
        """``mean(v + u (r - q))``: unbiased where either the propensities or the model are right; missing without one.

        Source: Dudik, Langford, Li, ICML 2011.
        """
        if not self._config["model"]:
            return Estimate.missing("no reward model was given", n=self.n, method="doubly robust", unit=unit)
        return self._judged(self._of("robust"), self.rows, "doubly robust", alpha, unit, limits)

    def gain(self, *, alpha: float = 0.05, unit: str = "", **limits: float) -> Estimate:
        """``mean((u - 1) r)``: IPS less what the followed policy earned on the same rows."""
        return self._judged(self._of("weighted") - self._of("reward"), self.rows, "IPS gain", alpha, unit, limits)

    def on_policy(self, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The mean reward of the policy that was followed."""
        return self._ratio(self._of("reward"), self.rows, "on policy", alpha, unit)

    def estimates(self) -> dict[str, Estimate]:
        """Everything, by name."""
        return {"ips": self.ips(), "snips": self.snips(), "doubly_robust": self.doubly_robust(),
                "on_policy": self.on_policy(), "mean_weight": self.mean_weight()}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Skewed weights over four clusters, rewards and the predictions of a rough model."""
        return (rng.integers(0, 4, rows), rng.gamma(2.0, 0.5, rows), rng.random(rows), rng.random(rows),
                rng.random(rows))

    def _judged(
        self, top: Any, bottom: Any, method: str, alpha: float, unit: str, limits: dict[str, float],
    ) -> Estimate:
        why = self.refusal(**limits)
        if why is not None:
            return Estimate.missing(why, n=self.n, method=method, unit=unit)
        return self._ratio(top, bottom, method, alpha, unit, self.effective_users - 1)

    def _ratio(self, top: Any, bottom: Any, method: str, alpha: float, unit: str, df: float | None = None) -> Estimate:
        """``sum(top) / sum(bottom)`` by the delta method over the clusters that have rows."""
        clusters = int((self.rows > 0).sum())
        method = f"{method} over {clusters} clusters of users"
        found = ratio(top, bottom) if self.n else None
        if found is None:
            return Estimate.missing(self.refusal() or "no weight", n=self.n, method=method, unit=unit)
        value, influence = found
        return fixed.unless_all_zero(fixed.interval(
            value, spread(influence, clusters), self.n, df=clusters - 1 if df is None else df, alpha=alpha,
            method=method, unit=unit))

    def _of(self, name: str) -> NDArray[np.float64]:
        column: NDArray[np.float64] = self.sums[:, _SUMS.index(name)]
        return column


def _kish(total: float, squares: float) -> float:
    return float(total * total / squares) if squares > 0 else 0.0
