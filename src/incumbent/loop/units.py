"""What the units of an experiment are, recomputed from the lake: first exposures, and everything in their periods."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, structs

from incumbent.clock import EPOCH
from incumbent.config import ExperimentConfig
from incumbent.events.ids import user_bucket
from incumbent.events.window import Window, day_of
from incumbent.experiments.maturity import rounded_all
from incumbent.loop import relations
from incumbent.loop.readings import Meter, by_days
from incumbent.loop.relations import DAY_US, Engine
from incumbent.stores.store import Lake, Matured

FIRST = ["user_id", "time", "request_id", "experiment", "lane", "stage"]
SHOWN = [*FIRST, "ranking_id", "slots"]
CREDITED = ["event_id", "time", "user_id", "action", "value_minor", "currency", "exposed_at", "experiment",
            "credit_champion", "credit_candidate", "weight", "reason"]
_UNITS = pa.schema([("user_id", pa.string()), ("t0", pa.int64()), ("stage", pa.string()), ("lane", pa.string())])


class Scope(Struct, frozen=True):
    """The experiment whose units are asked for: its definition, the currency of its values, and where it began."""

    name: str
    definition: ExperimentConfig
    currency: str
    since: date

    @property
    def period_us(self) -> int:
        """The maturity window in microseconds."""
        return round(self.definition.maturity_window_days * DAY_US)


def first_exposures(
    lake: Lake, engine: Engine, scope: Scope, buckets: Sequence[int], until: date, meter: Meter,
) -> pa.Table:
    """The units of some user buckets whose first exposure is not after the day `until`: `user_id`, `t0`, `stage`, `lane`.

    Reading after reading, keeping each user's first only, so that memory holds the users and one reading.
    """  # noqa: E501
    found = []
    for rows in by_days(lake, "impression", scope.since, max(until, scope.since), buckets, FIRST, meter):
        if rows.num_rows:
            found.append(_unpacked(engine.collect(
                relations.first_exposures(engine.frame(relations.plain(rows)), scope.name))))
    whole = relations.concat(found, _UNITS)
    if len(found) < 2:
        return whole
    whole = whole.sort_by([("t0", "ascending")])
    return whole.take(_first_rows(whole["user_id"]))


class FirstExposures:
    """`first_exposures`, where what was read before is not read again: days only follow, until one of those changes.

    Of at most `most` units in all, of experiments that are not over (`keep`); more are read anew each time.
    """

    def __init__(self, lake: Lake, most: int = 200_000) -> None:
        self._lake, self._most = lake, most
        self._known: dict[tuple[str, date, int], tuple[int, date, pa.Table]] = {}  # version, last day, units

    def keep(self, experiments: Collection[tuple[str, date]]) -> None:
        """Let go of all experiments but these, by name and `Scope.since`."""
        self._known = {key: one for key, one in self._known.items() if key[:2] in experiments}

    def forget(self, user_id: str) -> None:
        """Let go of whom an erasure takes, with all of the same bucket: its days change, and are read anew anyway."""
        bucket = user_bucket(user_id, self._lake.buckets)
        self._known = {key: one for key, one in self._known.items() if key[2] != bucket}

    def of(self, engine: Engine, scope: Scope, buckets: Sequence[int], until: date, meter: Meter) -> pa.Table:
        """As `first_exposures`."""
        until = max(until, scope.since)
        stand = {bucket: self._standing(engine, scope, bucket, until, meter) for bucket in buckets}
        anew = [bucket for bucket, units in stand.items() if units is None]
        found = [units for units in stand.values() if units is not None]
        return relations.concat([*found, self._anew(engine, scope, anew, until, meter)] if anew else found, _UNITS)

    def _standing(self, engine: Engine, scope: Scope, bucket: int, until: date, meter: Meter) -> pa.Table | None:
        """What is known of a bucket, with the days that followed; None where it is to be read anew."""
        key = (scope.name, scope.since, bucket)
        if key not in self._known:
            return None
        version, last, units = self._known.pop(key)
        now, changed = self._lake.changes("impression", version)
        if until < last or any(part.bucket == bucket and part.day <= last for part in changed):
            return None
        if until > last:
            later = structs.replace(scope, since=last + timedelta(days=1))
            more = first_exposures(self._lake, engine, later, [bucket], until, meter)
            units = relations.concat([units, more.filter(pc.invert(pc.is_in(
                more["user_id"], value_set=units["user_id"].combine_chunks())))], _UNITS)
        self._remember(key, now, until, units)
        return units

    def _anew(self, engine: Engine, scope: Scope, buckets: Sequence[int], until: date, meter: Meter) -> pa.Table:
        now, _ = self._lake.changes("impression", -1)
        whole = first_exposures(self._lake, engine, scope, buckets, until, meter)
        if self._room() > 0:
            users = whole["user_id"].to_pylist()
            theirs = pa.array([user_bucket(user, self._lake.buckets) for user in users], pa.int64())
            for bucket in buckets:
                self._remember((scope.name, scope.since, bucket), now, until, whole.filter(pc.equal(theirs, bucket)))
        return whole

    def _room(self) -> int:
        return self._most - sum(len(units) for _, _, units in self._known.values())

    def _remember(self, key: tuple[str, date, int], version: int, until: date, units: pa.Table) -> None:
        if units.num_rows <= self._room():
            self._known[key] = (version, until, units)


def _unpacked(rows: pa.Table) -> pa.Table:
    """`first` taken apart, from behind: a request id may be any text, stages and lanes are words."""
    words = pc.split_pattern(rows["first"], relations.SEPARATOR, max_splits=2, reverse=True)
    stage, lane = (pc.list_element(words, at) for at in (1, 2))
    return pa.table([rows["user_id"], rows["t0"], stage, lane], schema=_UNITS)


def _first_rows(users: pa.ChunkedArray) -> pa.Array:
    """The index of the first row of each user."""
    numbered = pa.table({"user": users, "row": pa.array(range(len(users)), pa.int64())})
    return numbered.group_by("user").aggregate([("row", "min")])["row_min"].combine_chunks()


def matured_units(
    lake: Lake, engine: Engine, scope: Scope, buckets: Sequence[int], units: pa.Table, meter: Meter,
) -> list[Matured]:
    """The rows of units of some buckets over their periods [t0, t0 + M], both ends included."""
    if units.num_rows == 0:
        return []
    units = units.append_column("t1", pc.add(units["t0"], scope.period_us))
    window = Window.of_days(_day(pc.min(units["t0"]).as_py()), _day(pc.max(units["t1"]).as_py()))
    periods = engine.frame(units)
    rows = _shown(lake, scope, buckets, units, meter)
    again = _repeated(rows)
    several = [relations.repeated_pairs(
        engine.frame(again.drop_columns(["pair_ids"])), engine.frame(relations.pair_rows(again)), periods, scope.name,
    )] if again.num_rows else []
    credited = engine.frame(relations.plain(lake.scan("outcome", window, buckets, CREDITED)))
    terms = scope.definition
    whole = periods
    for part in (
        relations.shown_to(engine.frame(rows.drop_columns(["pair_ids"])), periods, scope.name),
        *several,
        relations.credits(credited, periods, scope.name, terms.actions, scope.currency, terms.outcome == "value"),
        relations.values(credited, periods, scope.currency),
    ):
        whole = whole.join(part, on="user_id", how="left")
    return _rows(scope, engine.collect(whole.sort("t1", "user_id")))


def _shown(lake: Lake, scope: Scope, buckets: Sequence[int], units: pa.Table, meter: Meter) -> pa.Table:
    """The impressions of these units, of their slots only what tells pairs; what is not theirs falls away at once."""
    users = pc.unique(units["user_id"])
    found = []
    for piece in by_days(lake, "impression", _day(pc.min(units["t0"]).as_py()), _day(pc.max(units["t1"]).as_py()),
                         buckets, SHOWN, meter, users=users.to_pylist()):
        ours = pc.and_(pc.equal(piece["experiment"], scope.name), pc.is_in(piece["user_id"], value_set=users))
        found.append(relations.with_pairs(piece.filter(ours)))
    return relations.concat(found, found[0].schema)


def _repeated(rows: pa.Table) -> pa.Table:
    """The impressions of the rankings that were served more than once: their further pages, or the same page again."""
    counts = pc.value_counts(rows["ranking_id"])
    return rows.filter(pc.is_in(rows["ranking_id"], value_set=counts.field("values").filter(
        pc.greater(counts.field("counts"), 1))))


def _rows(scope: Scope, units: pa.Table) -> list[Matured]:
    """Units with their numbers, absent ones 0, as they are sealed."""
    named = (units[name].to_pylist() for name in ("user_id", "lane", "stage"))
    times = ([_time(us) for us in units[name].to_pylist()] for name in ("t0", "t1"))
    numbers = {name: pc.fill_null(units[name].cast(pa.float64()), 0.0).to_numpy()
               for name in ("x", "y", "pairs", "value", "repeated") if name in units.column_names}
    numbers["pairs"] = numbers["pairs"] - numbers.get("repeated", 0.0)
    sums = (rounded_all(numbers[name]).tolist() for name in ("x", "y", "pairs", "value"))
    requests = pc.fill_null(units["requests"].cast(pa.int64()), 0).to_pylist()
    return [Matured(scope.name, user, lane, stage, exposed, matured, x, y, n, value, count)
            for user, lane, stage, exposed, matured, x, y, n, value, count in zip(
                *named, *times, *sums, requests, strict=True)]


def only(units: pa.Table, users: Iterable[str]) -> pa.Table:
    """The units of these users."""
    return units.filter(pc.is_in(units["user_id"], pa.array(sorted(users), pa.string())))


def _time(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def _day(us: int) -> date:
    return day_of(_time(us))
