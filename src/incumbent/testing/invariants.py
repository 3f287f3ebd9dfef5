"""What must hold of a simulated system, whatever happened to it: plain recomputations over its lake and Control."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from incumbent import registry
from incumbent.events.schema import Decision, Feedback, Impression
from incumbent.experiments.evidence import Evidence
from incumbent.stores.columns import from_arrow, values
from incumbent.stores.store import Matured, Table
from incumbent.testing import naive
from incumbent.testing.naive_draft import Fairness, broken_draft
from incumbent.testing.naive_states import NaiveStates
from incumbent.testing.simulated_experiment import EXPERIMENT
from incumbent.testing.simulation import Simulation

REACH_DAYS = 8  # whole days before its own that a feedback may look back: the default window of 7, and one
_AT_ONCE = 8_192  # impressions that are in memory together, with all else of their users
_BATCH_ROWS = 10_000  # whose bytes are


class SealWatch:
    """Seals and sealed rows as they were first seen: they may never change, but rows go with an erased user."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._seals: dict[date, bytes] = {}
        self._rows: dict[str, bytes] = {}

    def __call__(self) -> None:
        """Look again."""
        ledger, control = self._world.ledger, self._world.control
        seals = {seal.day: msgspec.msgpack.encode(seal) for seal in control.seals(EXPERIMENT)}
        rows = {row.unit: msgspec.msgpack.encode(row) for row in control.matured(EXPERIMENT)}
        for day, seal in self._seals.items():
            if seals.get(day) != seal:
                ledger.violation(f"the seal of {day} changed")
        for unit, row in self._rows.items():
            if rows.get(unit) != row and unit not in ledger.erased:
                ledger.violation(f"the sealed row of {unit} changed")
        self._seals, self._rows = seals, rows


def check(world: Simulation) -> None:
    """Everything that must hold at the end of a run; what does not is noted in the ledger's `violations`."""
    _promises(world)
    states, fairness = NaiveStates(world.lake.buckets, "EUR"), Fairness()
    units: dict[str, dict[str, Any]] = {}
    served = _served(world)
    for user, impressions, feedback, stored in _users(world):
        for one in impressions:
            problem = broken_draft(one, world.config.experiments[EXPERIMENT].coin)
            if problem:
                world.ledger.violation(f"{one.request_id}: {problem}")
            fairness.add(one)
        rows = _outcomes(world, user, impressions, feedback, stored, served)
        states.add(user, impressions, rows)
        terms = world.config.experiments[EXPERIMENT]
        units |= naive.units(impressions, rows, EXPERIMENT, maturity_days=terms.maturity_window_days,
                             actions={str(k): v for k, v in terms.actions.items()}, value=terms.outcome == "value",
                             currency="EUR")
    for text in [*fairness.problems(), *states.differences(world.control.range(""))]:
        world.ledger.violation(text)
    _maturity(world, units)
    _decisions(world)
    _erasure(world)
    for text in world.control.usurped:
        world.ledger.violation(text)


# ------------------------------------------------------------------------------------------------------ what arrived
def _promises(world: Simulation) -> None:
    """What was acknowledged is in the lake, once; what is in the lake was sent; what was shown is what is on record."""
    ledger, lake = world.ledger, world.lake
    kept = {table: Counter(lake.scan(table, columns=["event_id"])["event_id"].to_pylist())
            for table in ("impression", "feedback", "conclusion", "quarantine")}
    for table, ids in kept.items():
        for event_id in [event_id for event_id, n in ids.items() if n > 1]:
            ledger.violation(f"{table} {event_id} is in the lake {ids[event_id]} times")
    for event_id, answer in ledger.answers.items():
        died = ledger.deaths.get(answer.front)
        lossy = not answer.durable and died is not None and died - answer.at_s < 0.6
        if answer.logged and answer.user not in ledger.erased and not lossy and event_id not in kept["impression"]:
            ledger.violation(f"an acknowledged impression is lost: {event_id}, {answer}")
    for event_id, (user, _) in ledger.accepted.items():
        if user not in ledger.erased and event_id not in kept["feedback"]:
            ledger.violation(f"an acknowledged event is lost: {event_id}")
    for table, known in (("impression", ledger.made | ledger.answers.keys()), ("feedback", ledger.sent)):
        for event_id in kept[table].keys() - known:
            ledger.violation(f"{table} {event_id} came from nowhere")
    if not ledger.erased and sum(kept["quarantine"].values()) < ledger.rejected:
        ledger.violation(f"{ledger.rejected} events were refused, {sum(kept['quarantine'].values())} are kept")
    concluded = {event_id for event_id, one in world.control._conclusions.items()
                 if getattr(one, "action", "") != "user.erase"}
    if world.control.outbox() or concluded - kept["conclusion"].keys():
        ledger.violation("a conclusion did not reach the lake")


def _users(world: Simulation) -> Iterator[tuple[str, list[Impression], list[Feedback], list[dict[str, Any]]]]:
    """Everything that the lake holds of each user."""
    for chosen in _together(world):
        held: dict[str, defaultdict[str, list[Any]]] = {}
        for table in ("impression", "feedback"):
            held[table] = defaultdict(list)
            for event in from_arrow(table, world.lake.scan(table, users=chosen)):
                held[table][event.user_id].append(event)
        held["outcome"] = defaultdict(list)
        for row in _plain(world.lake.scan("outcome", users=chosen)):
            held["outcome"][row["user_id"]].append(row)
        for user in chosen:
            for one in held["impression"][user]:
                answer = world.ledger.answers.get(one.event_id)
                if answer is not None and answer.items != tuple(slot.item_id for slot in one.slots):
                    world.ledger.violation(f"{one.event_id} was shown {answer.items}, on record are {one.slots}")
            yield user, held["impression"][user], held["feedback"][user], held["outcome"][user]


def _together(world: Simulation) -> Iterator[list[str]]:
    """All users, in groups that have no more than so many impressions between them."""
    shown = Counter(world.lake.scan("impression", columns=["user_id"])["user_id"].to_pylist())
    group: list[str] = []
    size = 0
    for user in world.tastes.users:
        if group and size + shown[user] > _AT_ONCE:
            yield group
            group, size = [], 0
        group.append(user)
        size += shown[user]
    yield group


def _plain(rows: pa.Table) -> list[dict[str, Any]]:
    names = rows.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*map(values, rows.columns), strict=True)]


# -------------------------------------------------------------------------------------------------- what was credited
def _served(world: Simulation) -> dict[str, tuple[str, datetime]]:
    """Each request that feedback names -> whom it was served to, and when."""
    named = pc.unique(world.lake.scan("feedback", columns=["request_id"])["request_id"])
    rows = world.lake.scan("impression", columns=["request_id", "user_id", "time"])
    rows = rows.filter(pc.is_in(rows["request_id"], named))
    requests, users, times = (values(rows[name]) for name in ("request_id", "user_id", "time"))
    return dict(zip(requests, zip(users, times, strict=True), strict=True))


def _outcomes(
    world: Simulation, user: str, impressions: Sequence[Impression], feedback: Sequence[Feedback],
    stored: list[dict[str, Any]], served: Mapping[str, tuple[str, datetime]],
) -> list[dict[str, Any]]:
    """The naive outcome rows of a user, which the lake's must equal; credits must sum to what their rule says."""
    terms = world.config.experiments[EXPERIMENT]
    rows = naive.outcomes(impressions, feedback, {
        EXPERIMENT: (terms.attribution, terms.attribution_window_days, terms.skip_neutral)}, REACH_DAYS, served)
    if rows:
        names = list(rows[0])
        wanted, got = (Counter(_canonical(row, names) for row in some) for some in (rows, stored))
        if wanted != got:
            odd = next(iter(got - wanted), None), next(iter(wanted - got), None)
            world.ledger.violation(f"outcomes of {user} are not the naive ones: {odd}")
    elif stored:
        world.ledger.violation(f"outcomes of {user} came from nowhere")
    sums: Counter[tuple[str, str, str, str]] = Counter()
    refunds = {row["event_id"] for row in stored if row["action"] == "refund"}
    for row in stored:
        credit = row["credit_champion"] + row["credit_candidate"]
        if (row["reason"] is None) != (credit > 0):
            world.ledger.violation(f"credit {credit} with reason {row['reason']}")
        if row["reason"] is None:
            sums[row["event_id"], row["surface"], row["experiment"] or "", row["rule"]] += credit
    for (event_id, _, _, rule), total in sums.items():
        whole = abs(total - 1) <= 1e-9 or (rule == "all_touch" and total == round(total) and total >= 1)
        late = rule == "share" and event_id in refunds and 0 < total < 1  # for a part of it
        if not (whole or late):
            world.ledger.violation(f"credits of {event_id} sum to {total} under {rule}")
    return rows


def _canonical(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """A row as it is compared: floats to nine digits, and a rule only where it gave credit."""
    found = [row[name] for name in names if name != "rule" or row["reason"] is None]
    return tuple(round(value, 9) if isinstance(value, float) else value for value in found)


def _maturity(world: Simulation, units: dict[str, dict[str, Any]]) -> None:
    """Sealed or restated, a unit is now what the naive recomputation says; whoever is due is sealed; hashes hold."""
    ledger, control = world.ledger, world.control
    judged = control.matured(EXPERIMENT)
    now = {row.unit: row for row in judged} | {row.unit: row for row in control.restated(EXPERIMENT)}
    cursor = msgspec.json.decode(control.cursor(f"mature/{EXPERIMENT}") or "{}").get("day")
    window = timedelta(days=world.config.experiments[EXPERIMENT].maturity_window_days)
    for user, unit in units.items():
        row = now.get(user)
        if row is None:
            if cursor is not None and (unit["exposed_at"] + window).date().isoformat() <= cursor:
                ledger.violation(f"{user} matured at {unit['exposed_at'] + window} and is not sealed by {cursor}")
            continue
        for name, value in unit.items():
            got = getattr(row, name)
            same = abs(got - value) < 1e-6 if isinstance(value, int | float) else got == value
            if not same:
                ledger.violation(f"unit {user}: {name} is {got}, expected {value}")
    for user in now.keys() - units.keys():
        ledger.violation(f"unit {user} came from nowhere")
    of_seal: dict[int, list[Matured]] = {}
    for sequence, row in sorted(control._matured.get(EXPERIMENT, {}).values(),
                                key=lambda pair: (pair[0], pair[1].matured_at, pair[1].unit)):
        of_seal.setdefault(sequence, []).append(row)
    for seal in control.seals(EXPERIMENT):
        rows = of_seal.get(seal.sequence, [])
        digest = hashlib.blake2b(msgspec.msgpack.encode(rows), digest_size=16).hexdigest()
        if len(rows) == seal.units and digest != seal.hash:
            ledger.violation(f"the hash of the seal of {seal.day} is not that of its rows")
        if len(rows) > seal.units or (len(rows) < seal.units and not ledger.erased):
            ledger.violation(f"the seal of {seal.day} has {len(rows)} rows, it says {seal.units}")


# ---------------------------------------------------------------------------------------------------- what was decided
def _decisions(world: Simulation) -> None:
    """A Decision of the rule replays: its evidence has its hash, its seals are Control's, the rule says so again."""
    ledger, control = world.ledger, world.control
    seals = [seal.hash for seal in control.seals(EXPERIMENT)]
    row = control.experiment(EXPERIMENT)
    for decision in control.conclusions("decision", EXPERIMENT, 10_000):
        assert isinstance(decision, Decision) and row is not None
        if decision.by != "rule":
            continue
        evidence = _evidence(decision.evidence)
        if evidence is None:
            ledger.violation(f"the evidence of decision {decision.event_id} has another hash than it says")
            continue
        if list(evidence.seals) != seals[:len(evidence.seals)] or evidence.definition != row.definition:
            ledger.violation(f"decision {decision.event_id} stands on seals or a definition that are not Control's")
        rule = registry.load("rules", decision.rule or "")()
        again = rule.decide(evidence, decision.time)
        if rule.hash != decision.rule_hash or (again.verdict, again.reason) != (decision.verdict, decision.reason):
            ledger.violation(f"decision {decision.event_id} was {decision.verdict}, its evidence says {again.verdict}")
    known = {(one.event_id) for one in control.conclusions("decision", EXPERIMENT, 10_000)}
    stages = control.stages(EXPERIMENT)
    if any(a.until != b.since for a, b in pairwise(stages)) or len(known) < len(stages):
        ledger.violation(f"the stages do not follow one another: {stages}")


def _evidence(embedded: dict[str, Any]) -> Evidence | None:
    """The evidence that a Decision embeds, where it has the hash that it says. JSON knows no infinity: the open ends of
    intervals were written as null, and are put back."""
    said = embedded.get("evidence_hash")
    own = {name: value for name, value in embedded.items() if name in Evidence.__struct_fields__}
    for tree in (own, _opened(own)):
        evidence: Evidence = msgspec.convert(tree, Evidence, strict=False)
        if evidence.hash == said:
            return evidence
    return None


def _opened(value: Any) -> Any:
    if isinstance(value, dict):
        out = {name: _opened(inner) for name, inner in value.items()}
        bounds = {"value", "low", "high", "se"} <= out.keys() and out["value"] is not None
        if bounds and (out["se"] is not None or out["low"] != out["high"]):  # else nobody computed an interval
            out["low"] = -math.inf if out["low"] is None else out["low"]
            out["high"] = math.inf if out["high"] is None else out["high"]
        return out
    return [_opened(inner) for inner in value] if isinstance(value, list | tuple) else value


def _erasure(world: Simulation) -> None:
    """No byte of an erased user in lake, inboxes and Control."""
    if not world.ledger.erased:
        return
    erased = [(user, user.encode()) for user in sorted(world.ledger.erased)]
    for name, data in _bytes(world):
        for user, text in erased:
            if text in data:
                world.ledger.violation(f"{user} was erased and is still in {name}")


def _bytes(world: Simulation) -> Iterator[tuple[str, bytes]]:
    """Everything that the system holds, by where it is: the lake's tables a batch of rows at a time."""
    for log in world.logs:
        for record in log.records():
            yield "inboxes", record.data
    yield "control", repr(vars(world.control)).encode()
    tables: tuple[Table, ...] = ("impression", "feedback", "outcome", "conclusion", "quarantine")
    for table in tables:
        for batch in world.lake.scan(table).to_batches(max_chunksize=_BATCH_ROWS):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield table, sink.getvalue().to_pybytes()
