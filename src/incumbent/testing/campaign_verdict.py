"""The oracle of a kill campaign over HTTP: the shoppers' files of acknowledgements against what lake and Control hold.

Rows are read by deltalake itself, and what they should amount to is recomputed in plain Python (`naive`,
`naive_states`): neither rollup nor attribution nor the lake's reader has a part in it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from incumbent.config import ExperimentConfig
from incumbent.demo.acks import read
from incumbent.events.schema import Feedback, Impression
from incumbent.stores.columns import from_arrow
from incumbent.stores.control import SqlControl
from incumbent.stores.store import StateRow
from incumbent.testing import naive
from incumbent.testing.campaign_shoppers import Shopper
from incumbent.testing.naive_states import MEASURES, NaiveStates

REACH_DAYS = 8  # whole days before its own that a feedback may look back: the default window of 7, and one
Row = dict[str, Any]


class Verdict(msgspec.Struct):
    """What a campaign came to. `problems` is empty where everything holds."""

    impressions: int = 0  # acknowledged
    events: int = 0  # acknowledged
    lost: int = 0
    twice: int = 0
    rows: dict[str, int] = {}  # in the lake, by table
    states: int = 0
    sealed: int = 0  # units
    decisions: int = 0
    problems: list[str] = []

    def __str__(self) -> str:
        rows = ", ".join(f"{n} {table}" for table, n in self.rows.items())
        return (f"{self.impressions} impressions and {self.events} events acknowledged: {self.lost} lost, {self.twice} "
                f"counted twice\nin the lake: {rows}; {self.states} states, {self.sealed} sealed units, "
                f"{self.decisions} decisions; {len(self.problems)} differences")


def verdict(data: Path, shoppers: Iterable[Shopper], buckets: int, currency: str) -> Verdict:
    """Everything that must hold once all is drained; a directory without lake has lost what was acknowledged."""
    said, shoppers = Verdict(), list(shoppers)
    tables = {name: _rows(data / "lake" / name)
              for name in ("impression", "feedback", "outcome", "conclusion", "quarantine")}
    said.rows = {name: rows.num_rows if rows is not None else 0 for name, rows in tables.items()}
    impressions: list[Impression] = _events("impression", tables["impression"])
    feedback: list[Feedback] = _events("feedback", tables["feedback"])
    outcomes = tables["outcome"].to_pylist() if tables["outcome"] is not None else []
    _kept(said, shoppers, impressions, feedback)
    control = SqlControl.in_directory(data)
    try:
        terms = {row.name: ExperimentConfig.model_validate(row.definition) for row in control.experiments()}
        credited = _credited(said, impressions, feedback, outcomes, terms)
        exact = [row for row in control.range("") if row.key.partition("/")[0] in MEASURES]
        _stated(said, impressions, credited, exact, NaiveStates(buckets, currency))
        for name, term in terms.items():
            _matured(said, control, name, naive.units(
                impressions, [row for rows in credited.values() for row in rows], name,
                maturity_days=term.maturity_window_days, actions={str(k): v for k, v in term.actions.items()},
                value=term.outcome == "value", currency=currency), timedelta(days=term.maturity_window_days))
        _concluded(said, control, tables["conclusion"])
    finally:
        control.close()
    return said


def _rows(path: Path) -> pa.Table | None:
    return DeltaTable(path).to_pyarrow_table() if (path / "_delta_log").exists() else None


def _events(table: Any, rows: pa.Table | None) -> list[Any]:
    return [] if rows is None else from_arrow(table, rows)


def _kept(said: Verdict, shoppers: list[Shopper], impressions: list[Impression], feedback: list[Feedback]) -> None:
    """What was acknowledged is there once, as it was shown or sent; nothing is there that nobody asked for or sent."""
    counts = {"impression": Counter(one.event_id for one in impressions),
              "event": Counter(one.event_id for one in feedback)}
    acks = [read(shopper.acks) for shopper in shoppers]
    promised = {"impression": sorted(i for ack in acks for i in ack.requests),
                "event": sorted(i for ack in acks for i in ack.events)}
    said.impressions, said.events = len(promised["impression"]), len(promised["event"])
    for kind, ids in promised.items():
        lost, twice = [i for i in ids if not counts[kind][i]], [i for i, n in counts[kind].items() if n > 1]
        said.lost, said.twice = said.lost + len(lost), said.twice + len(twice)
        said.problems += [f"{kind} {i} was acknowledged and is lost" for i in lost]
        said.problems += [f"{kind} {i} is in the lake {counts[kind][i]} times" for i in twice]
    shown = {i: items for shopper in shoppers for i, items in shopper.shown.items()}
    asked = {ranking for shopper in shoppers for ranking in shopper.asked}
    sent = {i: event for shopper in shoppers for i, event in shopper.sent.items()}
    for one in impressions:
        items = tuple(slot.item_id for slot in one.slots)
        if one.ranking_id not in asked or shown.get(one.event_id, items) != items:
            said.problems.append(f"impression {one.event_id} of {one.ranking_id} is not what was shown: {items}")
    for event in feedback:
        mine = sent.get(event.event_id, {})
        kept = {"type": "feedback", **msgspec.structs.asdict(event), "time": event.time.isoformat()}
        if not mine or {name: kept[name] for name in mine} != mine:
            said.problems.append(f"event {event.event_id} is not what was sent: {event}, {mine}")


def _credited(said: Verdict, impressions: list[Impression], feedback: list[Feedback], outcomes: list[Row],
              terms: dict[str, ExperimentConfig]) -> dict[str, list[Row]]:
    """User -> naive outcome rows, which the lake's must equal, row by row: a row too many is an outcome twice."""
    credit = {name: (term.attribution, term.attribution_window_days, term.skip_neutral) for name, term in terms.items()}
    mine: defaultdict[str, list[Feedback]] = defaultdict(list)
    for event in feedback:
        mine[event.user_id].append(event)
    seen: defaultdict[str, list[Impression]] = defaultdict(list)
    for one in impressions:
        seen[one.user_id].append(one)
    made = {user: naive.outcomes(seen[user], mine[user], credit, REACH_DAYS) for user in mine}
    names = list(next((rows[0] for rows in made.values() if rows), {}))
    wanted = Counter(_canonical(row, names) for rows in made.values() for row in rows)
    got = Counter(_canonical(row, names) for row in outcomes)
    said.twice += sum((got - wanted).values())
    said.problems += [f"outcome {row} stands {got[row]} times, expected {wanted[row]}"
                      for row in sorted((got - wanted) | (wanted - got))]
    return made


def _canonical(row: Row, names: list[str]) -> str:
    plain = {name: row[name] for name in names if name != "rule" or row["reason"] is None}
    for name, value in plain.items():
        if isinstance(value, float):
            plain[name] = f"{round(value, 9) + 0.0:.9f}"  # no negative zero
        elif isinstance(value, datetime):
            plain[name] = value.astimezone(UTC).isoformat()
    return str(list(plain.values()))


def _stated(said: Verdict, impressions: list[Impression], credited: dict[str, list[Row]], stored: list[StateRow],
            states: NaiveStates) -> None:
    by_user: defaultdict[str, list[Impression]] = defaultdict(list)
    for one in impressions:
        by_user[one.user_id].append(one)
    for user in by_user.keys() | credited.keys():
        states.add(user, by_user[user], credited.get(user, ()))
    said.states = len(stored)
    said.problems += states.differences(stored)


def _matured(said: Verdict, control: SqlControl, name: str, units: dict[str, Row], window: timedelta) -> None:
    """As judged or as restated, each sealed unit is what the naive recomputation says, once, and seals say how many;
    whoever is due is sealed."""
    judged, seals = control.matured(name), control.seals(name)
    said.sealed += len(judged)
    if len({row.unit for row in judged}) != len(judged) or sum(seal.units for seal in seals) != len(judged):
        said.problems.append(f"{name}: {len(judged)} sealed units, the seals say {[seal.units for seal in seals]}")
    for unit, row in ({row.unit: row for row in judged} | {row.unit: row for row in control.restated(name)}).items():
        for field, value in units.get(unit, {"exposed_at": None}).items():
            got = getattr(row, field)
            if abs(got - value) > 1e-6 if isinstance(value, int | float) else got != value:
                said.problems.append(f"{name}: {field} of {unit} is {got}, expected {value}")
    day, due = msgspec.json.decode(control.cursor(f"mature/{name}") or "{}").get("day"), {row.unit for row in judged}
    said.problems += [f"{name}: {unit} matured by {day} and is not sealed" for unit, row in units.items()
                      if day and unit not in due and (row["exposed_at"] + window).date().isoformat() <= day]


def _concluded(said: Verdict, control: SqlControl, rows: pa.Table | None) -> None:
    """Each conclusion of Control is in the lake once, and nothing is left to be done."""
    known = Counter(one.event_id for one in control.conclusions(limit=100_000))
    lake = Counter(rows["event_id"].to_pylist() if rows is not None else ())
    said.decisions = len(control.conclusions("decision", limit=100_000))
    said.problems += [f"conclusion {i} stands {lake[i]} times in the lake, {known[i]} in Control"
                      for i in sorted(known.keys() | lake.keys()) if (known[i], lake[i]) != (1, 1)]
    if control.outbox(1):
        said.problems.append("the outbox is not worked off")
