"""A seeded synthetic shop, vectorised over users: what the judge sees of millions of requests, without serving one.

Users arrive over days, come back at their own rates and buy at their own rates (both lognormal(0, s), s in {0, 1,
1.5}), and have their own taste for one model or the other, symmetric around none: the weak null, under which tests that
take pairs for the unit fail. What is planted is said by `Shop`; everything else of a twin is equal on both sides.
Source: reference of this project, section 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from incumbent.experiments.analysis import Units
from incumbent.stats.buckets import Buckets

START = datetime(2026, 1, 5, tzinfo=UTC)
_EPOCH_DAY = np.datetime64(START.date())
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shop:
    """The truth of a world. A twin is `Shop()`: `effect`, `price_loss` and `lane_loss` 0."""

    users: int = 4_000
    arrival_days: int = 30  # users come for the first time evenly over so many days
    holdout: float = 0.1
    requests_per_day: float = 0.4  # of an average user
    heterogeneity: float = 1.0  # s: sd of the log of a user's activity and of the log of the rate at which they buy
    taste_sd: float = 0.5  # of the log odds of candidate against champion, per user
    rounds: int = 5  # draft rounds per request (k = 10)
    overlap: float = 0.3  # part of the rounds on which both models agree; 1.0 = identical lists
    buy_rate: float = 0.02  # purchases per slot of an average user
    effect: float = 0.0  # relative: a slot of the candidate sells (1 + effect) of a champion's
    price_loss: float = 0.0  # relative: what a slot of the candidate sells costs so much less; no count shows it
    lane_loss: float = 0.0  # relative loss of the whole interleave lane once the candidate is in it
    price_sd: float = 0.5  # sd of the log of a line's value
    maturity_days: int = 7
    buckets: int = 256


class World:
    """One shop as it goes, day by day. Every draw comes from the generator that is passed in.

    >>> world = World(Shop(users=200), np.random.default_rng(1))
    >>> for _ in range(9):
    ...     world.live_day("ramp_50", 0.5)
    >>> groups = world.groups()
    >>> world.today, len(world.matured().x) > 0, groups["ramp_50"]["interleave"] > groups["ramp_50"]["holdout"]
    (9, True, True)
    """

    def __init__(self, shop: Shop, rng: np.random.Generator) -> None:
        self.shop, self.rng, self.today = shop, rng, 0
        u, s = shop.users, shop.heterogeneity
        self.holdout = rng.random(u) < shop.holdout
        self._arrival = rng.integers(0, max(shop.arrival_days, 1), u)
        self._activity = shop.requests_per_day * np.exp(rng.normal(0, s, u) - s * s / 2)
        self._buying = np.minimum(shop.buy_rate * np.exp(rng.normal(0, s, u) - s * s / 2), 0.5)
        self._taste = np.exp(rng.normal(0, shop.taste_sd, u) / 2)
        self._bucket = rng.integers(0, shop.buckets, u)
        self.first = np.full(u, -1, dtype=np.int64)  # day of first exposure
        self._stage = np.zeros(u, dtype="U8")
        self._point = rng.spawn(1)[0].random(u)  # of the lane: a stream of its own, so that no other draw moves
        self._last = np.zeros(u, dtype="U8")  # stage of the last request
        self._touched = np.zeros(u, dtype=bool)  # was ever in the interleave lane
        self._groups: dict[str, dict[str, int]] = {}
        self._shares: dict[str, float] = {}  # lane share of each stage lived
        self.x, self.y, self.n = np.zeros(u), np.zeros(u), np.zeros(u)
        self.seen = np.zeros(u, dtype=bool)  # asked at least once, if only in shadow: assigned
        self.states: dict[tuple[str, str], Buckets] = {}  # (stage, lane) -> user-days
        self.pairs, self.candidate_first = 0, 0
        self.asked = 0  # requests of everybody: both models are asked on each
        self.requests, self.interleaved = 0, 0  # of the lane; of those, with both models in the draft

    @property
    def now(self) -> datetime:
        """The end of the last day lived."""
        return START + timedelta(days=self.today)

    def live_day(self, stage: str, share: float, lane_share: float = 1.0) -> None:
        """One day in a stage: requests, purchases, credit, user-days; of those outside the holdout such a part is
        interleaved, the others see the champion and are no units yet."""
        shop, rng = self.shop, self.rng
        asked = np.where(self._arrival <= self.today, rng.poisson(self._activity), 0)
        active = np.flatnonzero(asked)
        self._shares[stage] = lane_share
        lanes, requests = self._lanes(stage)[active], asked[active]
        lane = lanes == "interleave"
        self._meet(active, stage, lanes)
        new = active[(self.first[active] < 0) & (lanes != "rest")]
        if stage != "shadow":
            self.first[new], self._stage[new] = self.today, stage
        contested = rng.binomial(requests * shop.rounds, 1 - shop.overlap)
        pairs = np.where(lane, rng.binomial(contested, 2 * min(share, 1 - share)), 0)
        loss = np.where(lane & (share > 0), 1 - shop.lane_loss, 1.0)
        rate, taste = self._buying[active] * loss, self._taste[active]
        theirs, ours = rate * taste * (1 + shop.effect), rate / taste
        x, y = rng.poisson(pairs * theirs), rng.poisson(pairs * ours)
        leads = lane & (share > 0.5)  # who fills the rounds that are no pairs
        solo = rng.poisson(2 * (contested - pairs) * np.where(leads, theirs, ours))
        agreed = rng.poisson(2 * (requests * shop.rounds - contested) * rate)
        self._credit(active, x, y, pairs)
        cheap = x + np.where(leads, solo, 0)
        self._user_days(active, lanes, stage, x + y + solo + agreed, cheap)
        total = int(pairs.sum())
        self.pairs, self.candidate_first = self.pairs + total, self.candidate_first + int(rng.binomial(total, 0.5))
        self.asked += int(requests.sum())
        self.requests += int(requests[lane].sum())
        self.interleaved += int(requests[lane].sum()) if share > 0 else 0
        self.today += 1

    def _credit(self, active: Ints, x: Ints, y: Ints, pairs: Ints) -> None:
        """Credit counts while the unit's window is open; it opens with the first exposure past the shadow."""
        fresh = (self.first[active] >= 0) & (self.today - self.first[active] < self.shop.maturity_days)
        at = active[fresh]
        self.x[at] += x[fresh]
        self.y[at] += y[fresh]
        self.n[at] += pairs[fresh]

    def _lanes(self, stage: str) -> NDArray[np.str_]:
        """The lane of every user in a stage."""
        inside = np.where(self._point < self._shares[stage], "interleave", "rest")
        return np.where(self.holdout, "holdout", inside)

    def _meet(self, active: Ints, stage: str, lanes: NDArray[np.str_]) -> None:
        """Count the users who come to a stage for the first time, by lane and by the stage that met them before, as
        long as the candidate has not touched them."""
        self.seen[active] = True
        fresh = (self._last[active] != stage) & ~self._touched[active]
        for before in np.unique(self._last[active[fresh]]):
            group = self._groups.setdefault(f"{before}>{stage}" if before else stage, {})
            for lane in np.unique(lanes[fresh]):
                n = int((fresh & (self._last[active] == before) & (lanes == lane)).sum())
                if n:
                    group[str(lane)] = group.get(str(lane), 0) + n
        self._last[active] = stage
        self._touched[active[lanes == "interleave"]] = True

    def _user_days(self, active: Ints, lanes: NDArray[np.str_], stage: str, bought: Ints, cheap: Ints) -> None:
        spent = self._spent(bought - cheap) + (1 - self.shop.price_loss) * self._spent(cheap)
        rows = np.stack([spent, (bought > 0).astype(float)], axis=1)
        for name in ("interleave", "holdout"):
            mask = lanes == name
            state = self.states.get((stage, name)) or Buckets.zero(
                k=self.shop.buckets, variables=["revenue", "conversions"])
            self.states[stage, name] = state.update(self._bucket[active[mask]], rows[mask])

    def _spent(self, bought: Ints) -> Floats:
        values = self.rng.lognormal(6.0, self.shop.price_sd, int(bought.sum()))
        spent: Floats = np.bincount(np.repeat(np.arange(len(bought)), bought), values, len(bought)).astype(np.float64)
        return spent

    def matured(self) -> Units:
        """The units whose window has closed by now, in the order in which they matured."""
        due = np.flatnonzero((self.first >= 0) & (self.first + self.shop.maturity_days <= self.today))
        due = due[np.argsort(self.first[due], kind="stable")]
        lane = np.where(self.holdout[due], "holdout", "interleave")
        day = _EPOCH_DAY + self.first[due] + self.shop.maturity_days
        return Units(lane, self._stage[due], day, self.x[due], self.y[due], self.n[due])

    def lane_states(self, stage: str) -> dict[str, Buckets]:
        """What the users of each lane of a stage brought in it, a row per user of the lane whom any stage met."""
        found = {}
        for name in ("interleave", "holdout"):
            if (stage, name) in self.states:
                mine = self._bucket[self.seen & (self._lanes(stage) == name)]
                users = Buckets.zero(k=self.shop.buckets, variables=["users"]).update(mine, np.ones(len(mine)))
                found[name] = users.beside(self.states[stage, name])
        return found

    def groups(self) -> dict[str, dict[str, int]]:
        """Users met so far, by the stage (and the one before) and the lane: what the sample ratio is asked of."""
        return {group: dict(lanes) for group, lanes in self._groups.items()}

    def day(self) -> date:
        """The UTC day that is being lived."""
        return (START + timedelta(days=self.today)).date()
