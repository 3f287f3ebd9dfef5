"""Cohorts: who came back, and what was bought how late, by bucket of users; and triangles put together from the days.

A day's state says how many rows it began (``all``: users who were here, slots that were shown), and of how many rows of
``k`` days before the event came on it. So a day is final once it is over; its cohort is read from it and later ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.within_days import CLUSTERS, USERS, WithinDays
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stats.composite import Composite
from incumbent.stats.delay import Delay

RETURNED, SLOT_BOUGHT = "cohort:users_returned", "cohort:slots_bought"


def counted(longest: int, users: Sequence[str], rows: Sequence[int], late: Iterable[tuple[str, int]]) -> Buckets:
    """A day: each user's rows that begin on it, and (user, days after) of each row of before whose event came on it.

    Events later than `longest` days are not counted.

    >>> day = counted(2, ["u", "v"], [10, 5], [("u", 0), ("v", 2), ("v", 3)])
    >>> day.variables, day.sums.sum(axis=0).tolist()
    (['all', '0', '1', '2'], [15.0, 1.0, 0.0, 1.0])
    """
    came = [pair for pair in late if pair[1] <= longest]
    values = np.zeros((len(users) + len(came), longest + 2))
    values[:len(users), 0] = rows
    values[np.arange(len(users), len(values)), [days + 1 for _, days in came]] = 1.0
    bucket = bucket_of([*users, *(user for user, _ in came)], CLUSTERS)
    return Buckets.zero(k=CLUSTERS, variables=["all", *map(str, range(longest + 1))]).update(bucket, values)


def counts_of(metric: WithinDays) -> str:
    """The name of the days' counts that a metric of cohorts is read from."""
    return RETURNED if metric.name.startswith("return_rate") else SLOT_BOUGHT


def cohorts(metric: WithinDays, days: Mapping[date, Mapping[str, Any]], first: date, last: date, until: date,
            ) -> Composite:
    """The metric's state of the cohorts of `first` to `last`, as it stands at the end of `until`.

    Who came back (or bought) on day D after k days belongs to the cohort of day D - k.
    """
    name = counts_of(metric)
    delay, users = Delay.zero(ages=metric.days), metric.state().part(USERS)
    for at in range((last - first).days + 1):
        day = first + timedelta(days=at)
        size, age = _column(days, day, name, 0), (until - day).days
        if not size.any():
            continue
        done = np.stack([_column(days, day + timedelta(days=k), name, k + 1) for k in range(min(age, metric.days) + 1)])
        done[:, size == 0] = 0
        came = done.sum(axis=0)
        left = np.maximum(size - came, 0)
        delay = delay.update([age] * (len(done) + 1), [*map(float, range(len(done))), np.nan],
                             np.array([*done.sum(axis=1), left.sum()]).round().astype(np.int64))
        if age >= metric.days:
            used = np.flatnonzero(size)
            users = users.update(used, np.stack([came, came + left], axis=1)[used])
    return metric.of(delay, users)


def mature(metric: WithinDays, days: Mapping[date, Mapping[str, Any]], day: date) -> Buckets:
    """The users' part of `cohorts` of one day that is old enough, and no more."""
    name = counts_of(metric)
    size = _column(days, day, name, 0)
    came = np.sum([_column(days, day + timedelta(days=k), name, k + 1) for k in range(metric.days + 1)], axis=0)
    used = np.flatnonzero(size)
    return Buckets.zero(k=CLUSTERS, variables=["came", "mature"]).update(
        used, np.stack([came, np.maximum(size, came)], axis=1)[used])


def _column(days: Mapping[date, Mapping[str, Any]], day: date, name: str, at: int) -> NDArray[np.float64]:
    found = days.get(day, {}).get(name)
    return np.zeros(CLUSTERS) if found is None or at >= found.sums.shape[1] else np.asarray(found.sums[:, at])
