"""Requests of earlier days, in whose cells stand what was done on a day and the cohorts that came back on it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.config import MetricsConfig
from incumbent.loop.metrics import slices
from incumbent.loop.metrics.set import RETURNS, cohorts_cut
from incumbent.loop.metrics.slices import UNKNOWN, Budget, Cut
from incumbent.loop.relations import DAY_US

Visit = tuple[str, int]  # a user and a day since 1970


def seen_days(config: MetricsConfig) -> int:
    """How many days before its own a day looks at: cohorts of 28 days, and whether their visitors were new then."""
    then = config.history_days if cohorts_cut(config) and "visitor" in config.attributes else 0
    return max(config.history_days, max(RETURNS) + then)


class Earlier:
    """The requests of a surface before a day, read from `seen`: what every surface was asked, up to that day."""

    def __init__(self, seen: pa.Table, day: int, surface: str, config: MetricsConfig, budget: Budget) -> None:
        self._day, self._surface, self._config = day, surface, config
        self._budget = Budget(budget.kept, 0)  # earlier days take no values from later ones
        self._seen = seen
        own = seen.filter(pc.equal(seen["surface"], surface))
        self._rows = own.filter(pa.array(own["time"].to_numpy() < day * DAY_US))

    def of_events(self, events: Any, cut: Cut, requests: pa.Table) -> NDArray[np.int64]:
        """The cell of each event: that of the request it is credited to, today or before; else that of its user's first
        one of today, else `UNKNOWN`. Who was shown on an earlier day is a returning visitor; a lane may be none."""
        asked, users = (events[name].to_pylist() for name in ("request_id", "user_id"))
        code = dict(zip(requests["request_id"].to_pylist(), cut.codes.tolist(), strict=True))
        of_user: dict[str, int] = {}
        for user, at in zip(requests["user_id"].to_pylist(), cut.codes.tolist(), strict=True):
            of_user.setdefault(user, at)
        missing = {one for one in asked if one is not None} - code.keys()
        then = self._requests(frozenset(missing), cut) if missing else {}
        nobody = cut.names.index("returning" if cut.by == "visitor" else UNKNOWN) if cut.by != "lane" else -1
        return np.array([code[request] if request in code else then[request] if request in then else
                         of_user.get(user, nobody) for request, user in zip(asked, users, strict=True)], np.int64)

    def _requests(self, names: frozenset[str], cut: Cut) -> dict[str, int]:
        rows = self._rows.filter(pc.is_in(self._rows["request_id"], pa.array(sorted(names), pa.string())))
        return dict(zip(rows["request_id"].to_pylist(), self._codes(rows, cut, [True] * rows.num_rows), strict=True))

    @cached_property
    def last(self) -> dict[str, int]:
        """User -> the last day before this one on which they were on the surface."""
        made = self._rows.group_by("user_id").aggregate([("time", "max")])
        return dict(zip(made["user_id"].to_pylist(), (made["time_max"].to_numpy() // DAY_US).tolist(), strict=True))

    def visits(self, wanted: AbstractSet[Visit]) -> pa.Table:
        """The first request of users on days, with `day`, and whether they had `returned` by then."""
        users = pa.array(sorted({user for user, _ in wanted}), pa.string())
        rows = self._rows.filter(pc.is_in(self._rows["user_id"], users))
        rows = rows.append_column("day", pa.array(rows["time"].to_numpy() // DAY_US))
        rows = rows.sort_by([("time", "ascending"), ("request_id", "ascending")])
        names, keep = ["context", "experiment", "lane"], pc.ScalarAggregateOptions(skip_nulls=False)
        made = rows.group_by(["user_id", "day"], use_threads=False).aggregate([(name, "first", keep) for name in names])
        made = made.rename_columns([name.removesuffix("_first") for name in made.column_names])
        pairs = list(zip(made["user_id"].to_pylist(), made["day"].to_pylist(), strict=True))
        made = made.filter(pa.array([pair in wanted for pair in pairs], pa.bool_()))
        days = self._days(users)
        returned = [self._returned(days.get(user, []), day) for user, day in pairs if (user, day) in wanted]
        return made.append_column("returned", pa.array(returned, pa.bool_()))

    def of_visits(self, visits: pa.Table, cut: Cut) -> dict[Visit, int]:
        """The cells of these `visits`."""
        pairs = zip(visits["user_id"].to_pylist(), visits["day"].to_pylist(), strict=True)
        return dict(zip(pairs, self._codes(visits, cut, visits["returned"].to_pylist()), strict=True))

    def _codes(self, rows: pa.Table, cut: Cut, returning: Sequence[bool]) -> list[int]:
        """The cell of each row in the terms of today's cut."""
        found = next((one for one in slices.of_requests(rows, self._surface, self._config, self._budget, returning)
                      if one.by == cut.by), None)
        at = {name: code for code, name in enumerate(cut.names)}
        nobody = at.get(UNKNOWN, -1)
        return [nobody] * rows.num_rows if found is None else [at.get(found.names[code], nobody) if code >= 0 else -1
                                                               for code in found.codes.tolist()]

    def _days(self, users: pa.Array) -> dict[str, list[int]]:
        """User -> the days on which they were on any surface, in order."""
        seen = self._seen.filter(pc.is_in(self._seen["user_id"], users))
        pairs = zip(seen["user_id"].to_pylist(), (seen["time"].to_numpy() // DAY_US).tolist(), strict=True)
        out: dict[str, list[int]] = {}
        for user, day in sorted(set(pairs)):
            out.setdefault(user, []).append(day)
        return out

    def _returned(self, days: list[int], day: int) -> bool:
        at = bisect_left(days, day)
        return at > 0 and days[at - 1] >= day - self._config.history_days
