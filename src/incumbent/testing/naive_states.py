"""The rolled-up states the slow way: loops over impressions and outcome rows, as an oracle for the rollup.

It imports neither the rollup nor its tallies nor its keys; what a state should hold is written down here a second time.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from incumbent.events.schema import Impression, ModelAnswer
from incumbent.stats.buckets import Buckets
from incumbent.stats.counts import Counts
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.store import StateRow

#: what the keys begin with of all states that are recomputed here
MEASURES = frozenset({"requests", "slots", "shown", "answer_ms", "status", "latency_ms", "list_size", "model",
                      "engagement", "value", "outcomes", "guardrail"})
NO_MONEY = {"unserved", "forged"}
DONE = {"view": 2, "click": 3, "add_to_cart": 4, "purchase": 5}  # column of `engagement`
Shard = tuple[str, date, int]  # key, day, user bucket of the lake


def bucket(user: str, of: int) -> int:
    """The bucket of a user: the first eight bytes of BLAKE2b, big-endian, modulo the number of buckets."""
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big") % of


class NaiveStates:
    """Counts, sums per user bucket, and numbers of values, per key, day and bucket; users are added one by one."""

    def __init__(self, buckets: int, currency: str) -> None:
        self._buckets, self._currency = buckets, currency
        self.counts: defaultdict[Shard, Counter[str]] = defaultdict(Counter)
        self.sums: defaultdict[Shard, dict[int, list[float]]] = defaultdict(dict)
        self.values: Counter[Shard] = Counter()

    def add(self, user: str, impressions: Sequence[Impression], outcomes: Iterable[dict[str, Any]]) -> None:
        """Everything of one user."""
        self._small, self._large = bucket(user, self._buckets), bucket(user, 256)
        by_day: defaultdict[date, list[Impression]] = defaultdict(list)
        for impression in impressions:
            by_day[_day(impression.time)].append(impression)
        done: defaultdict[date, list[dict[str, Any]]] = defaultdict(list)
        for row in outcomes:
            done[_day(row["time"])].append(row)
        for day, shown in by_day.items():
            self._requests(day, shown)
        for day in {*by_day, *done}:
            self._guardrails(day, by_day[day], done[day])
        for day, rows in list(done.items()):
            self._outcomes(day, rows)

    def _sum(self, key: str, day: date, values: Sequence[float]) -> None:
        """One row of sums: the number of rows stands before the values."""
        cells = self.sums[key, day, self._small]
        cell = cells.get(self._large)
        if cell is None:
            cell = cells[self._large] = [0.0] * (len(values) + 1)
        cell[0] += 1.0
        for at, value in enumerate(values, 1):
            cell[at] += value

    def _requests(self, day: date, shown: list[Impression]) -> None:
        small = self._small
        for where in {one.surface for one in shown}:
            mine = [one for one in shown if one.surface == where]
            self.counts[f"requests/{where}", day, small].update(f"{one.mode}/{one.lane}" for one in mine)
            if slots := Counter(f"{slot.kind}/{slot.owner or 'none'}" for one in mine for slot in one.slots):
                self.counts[f"slots/{where}", day, small].update(slots)
            self.values[f"answer_ms/{where}", day, small] += sum(one.latency_ms is not None for one in mine)
            for one in mine:
                self._sum(f"engagement/{where}", day, (1, len(one.slots), 0, 0, 0, 0))
                self._sum(f"shown/{where}", day, (1, len(one.slots)))
                for model in one.models:
                    self._model(one, model, day)

    def _model(self, one: Impression, model: ModelAnswer, day: date) -> None:
        of_model = f"{one.surface}/model={model.name}/role={model.role}"
        self.counts[f"status/{of_model}", day, self._small][model.status] += 1
        self.values[f"latency_ms/{of_model}", day, self._small] += 1
        if model.status == "ok":
            self.counts[f"list_size/{of_model}", day, self._small][str(model.n_items)] += 1
        if one.experiment is not None and one.stage is not None:
            key = f"model/{one.experiment}/stage={one.stage}/lane={one.lane}/role={model.role}/model={model.name}"
            self._sum(key, day, (model.status != "ok", model.status == "timeout", model.latency_ms))

    def _guardrails(self, day: date, shown: list[Impression], rows: list[dict[str, Any]]) -> None:
        days: dict[tuple[str, str, str], list[float]] = {}
        requests = sorted((one.time, one.request_id, one.experiment, one.stage or "", one.lane) for one in shown
                          if one.experiment is not None and one.stage is not None)
        for _, _, experiment, stage, lane in requests:
            days.setdefault((experiment or "", stage, lane), [0.0] * 4)[0] += 1
        money = {row["event_id"]: row for row in rows
                 if row["action"] in ("purchase", "refund") and row["reason"] not in NO_MONEY}
        for row in money.values():
            for experiment, (at_stage, at_lane) in _places(row, requests, rows).items():
                cell = days.setdefault((experiment, at_stage, at_lane), [0.0] * 4)
                bought = row["action"] == "purchase"
                cell[1] = 1.0 if bought else cell[1]
                if row["value_minor"] is not None and row["currency"] == self._currency:
                    cell[2] += row["value_minor"]
                elif row["value_minor"] is not None and bought:
                    cell[3] += 1
        for (name, its_stage, its_lane), cell in days.items():
            self._sum(f"guardrail/{name}/stage={its_stage}/lane={its_lane}", day, cell)

    def _outcomes(self, day: date, rows: list[dict[str, Any]]) -> None:
        seen = set()
        for row in rows:
            where = row["surface"]
            self.counts[f"outcomes/{where or 'none'}", day, self._small][
                f"{row['action']}/{row['reason'] or 'credited'}"] += 1
            inside = row["reason"] is None or row["exposed_at"] is not None
            if where is None or not inside or (where, row["event_id"]) in seen:
                continue
            seen.add((where, row["event_id"]))
            if row["action"] in DONE:
                self._sum(f"engagement/{where}", day, [float(at == DONE[row["action"]]) for at in range(6)])
            if row["action"] in ("purchase", "refund") and row["value_minor"] is not None:
                self._sum(f"value/{where}/currency={row['currency']}", day, [row["value_minor"]])

    def differences(self, stored: Iterable[StateRow]) -> list[str]:
        """Where the stored states are not these; empty where they are."""
        rows = {(row.key, row.day, row.bucket): row for row in stored}
        wanted = {*self.counts, *self.sums, *(shard for shard, count in self.values.items() if count)}
        found = [f"state {shard} is {'missing' if shard in wanted else 'of nothing'}"
                 for shard in sorted(wanted ^ rows.keys())]
        for shard in wanted & rows.keys():
            got = self._difference(shard, rows[shard])
            found += [f"state {shard}: {got}"] if got else []
        return found

    def _difference(self, shard: Shard, row: StateRow) -> str | None:
        if row.state == "counts":
            counted = Counts.from_bytes(row.data).counts
            return None if counted == self.counts[shard] else f"{counted}, expected {dict(self.counts[shard])}"
        if row.state == "log_histogram":
            total = LogHistogram.from_bytes(row.data).total
            return None if total == self.values[shard] else f"{total} values, expected {self.values[shard]}"
        state = Buckets.from_bytes(row.data)
        got = np.column_stack([state.rows, state.sums])
        wanted = np.zeros((256, got.shape[1]))
        for at, cell in self.sums[shard].items():
            wanted[at] = cell
        same = np.abs(got - wanted) <= 1e-9 * np.maximum(1.0, np.abs(wanted))
        if same.all():
            return None
        at = int(np.flatnonzero(~same.all(axis=1))[0])
        return f"bucket {at} holds {got[at].tolist()}, expected {wanted[at].tolist()}"


def _places(row: dict[str, Any], requests: list[Any], rows: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Experiment -> the stage and lane that a purchase or refund belongs to: those of the latest request of the day
    before it, of the first one where it came before all, and of the latest exposure named where there was none."""
    found: dict[str, tuple[str, str]] = {}
    named = [one for one in rows if one["event_id"] == row["event_id"] and one["exposed_at"] is not None
             and one["lane"] is not None and one["stage"] is not None and one["experiment"] is not None]
    for one in sorted(named, key=lambda one: (one["exposed_at"], one["stage"], one["lane"])):
        found[one["experiment"]] = one["stage"], one["lane"]
    for experiment in {request[2] for request in requests}:
        own = [request for request in requests if request[2] == experiment]
        before = [request for request in own if request[0] <= row["time"]]
        found[experiment] = (before[-1] if before else own[0])[3:]
    return found


def _day(time: datetime) -> date:
    return time.astimezone(UTC).date()
