"""Control, what is served: plans with their history, and shoppers' exclusions. What a gateway polls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from incumbent.clock import EPOCH
from incumbent.events.plan import ServingPlan
from incumbent.stores.control_engine import Database
from incumbent.stores.control_states import upsert
from incumbent.stores.control_tables import counters, exclusions, plans
from incumbent.stores.exclusion_changes import Change, Spans, spans, told
from incumbent.stores.plan_files import PlanFiles

_decode = msgspec.json.Decoder(ServingPlan).decode
_decode_past, _encode = msgspec.json.Decoder(list[tuple[int, bool]]).decode, msgspec.json.encode
_NEWEST = sa.select(plans.c.hash, plans.c.body).order_by(plans.c.version.desc())
_CURRENT = sa.select(plans.c.version, plans.c.hash).order_by(plans.c.version.desc()).limit(1)
_VERSION = sa.select(sa.func.max(plans.c.version))
_CHANGES = sa.select(exclusions.c.past, exclusions.c.at, exclusions.c.excluded)
_EXCLUSIONS = "exclusions"
FORGOTTEN = "forgotten"  # its version at the last erasure


class ControlPlans:
    """The plan and exclusion verbs of Control over a `Database`, and over `PlanFiles` where it has a directory."""

    _db: Database
    _files: PlanFiles | None = None

    def publish(self, plan: ServingPlan) -> ServingPlan:
        """Store a plan as the current one under the next version, unless it equals the current one."""
        digest = plan.hash  # before the transaction: it takes a while over a large catalogue
        with self._db.write() as connection:
            current = connection.execute(_CURRENT).first()
            if self._files is not None:  # first: an impression never names a plan that an older copy would not know
                self._files.keep(plan)
            if current is not None and current.hash == digest:
                return _plan(*connection.execute(_NEWEST.limit(1)).one())
            plan = plan.stamped(current.version + 1 if current else 1, plan.time)
            connection.execute(sa.insert(plans).values(version=plan.version, hash=digest,
                                                       body=msgspec.json.encode(plan).decode()))
        return plan

    def plan(self, hash: str | None = None) -> ServingPlan | None:
        """The current plan, or the newest one of a hash, also one that this database has forgotten; None where there
        is none."""
        query = _NEWEST.limit(1) if hash is None else _NEWEST.where(plans.c.hash == hash).limit(1)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        if row is None and hash is not None and self._files is not None:
            return self._files.find(hash)
        return _plan(*row) if row is not None else None

    def plan_history(self, limit: int) -> list[ServingPlan]:
        """The last `limit` plans, the current one last."""
        with self._db.read() as connection:
            rows = connection.execute(_NEWEST.limit(limit)).all()
        return [_plan(*row) for row in reversed(rows)]

    def plan_version(self) -> int:
        """The current plan's version, 0 where there is none."""
        with self._db.read() as connection:
            return connection.scalar(_VERSION) or 0

    def exclude(self, user_id: str, item_id: str, at: datetime, *, excluded: bool = True,
                kind: str = "item", late: bool = False) -> None:
        """Exclude an item, a category or a past interaction for a shopper, or take that back; see `Control.exclude`."""
        key: dict[str, object] = {"user_id": user_id, "kind": kind, "item_id": item_id}
        with self._db.write() as connection:
            stands = connection.execute(_CHANGES.add_columns(exclusions.c.version).filter_by(**key)).first()
            before = () if stands is None else _changes(*stands[:3])
            changes = told(before, at, excluded=excluded, late=late)
            if changes == before and late:
                return
            kept = late and stands is not None and changes[-1] == before[-1]  # a gateway need not hear of it
            (newest, holds), past = changes[-1], [(_micros(when), on) for when, on in changes[:-1]]
            upsert(connection, exclusions, key, {
                "excluded": holds, "at": newest, "past": _encode(past).decode(),
                "version": stands.version if stands is not None and kept else next_version(connection)})

    def exclusions(self, since: int = 0, *, kind: str = "item") -> tuple[int, Mapping[str, frozenset[str]]]:
        """The version, and per user that changed after `since` all of a kind that is excluded now (maybe nothing)."""
        changed = sa.select(exclusions.c.user_id).where(
            exclusions.c.version > since, exclusions.c.kind == kind)
        with self._db.read() as connection:
            version = connection.scalar(sa.select(counters.c.value).where(counters.c.name == _EXCLUSIONS)) or 0
            if version <= since:
                return version, {}
            found: dict[str, set[str]] = {}
            for user, item, excluded in connection.execute(sa.select(
                    exclusions.c.user_id, exclusions.c.item_id, exclusions.c.excluded
            ).where(exclusions.c.user_id.in_(changed), exclusions.c.kind == kind)):
                items = found.setdefault(user, set())
                if excluded:
                    items.add(item)
        return version, {user: frozenset(items) for user, items in found.items()}

    def excluded_spans(self, kind: str = "item") -> Mapping[str, Mapping[str, Spans]]:
        """User -> what of a kind is or was excluded -> when; see `Control.excluded_spans`."""
        found: dict[str, dict[str, Spans]] = {}
        with self._db.read() as connection:
            for *row, user, item in connection.execute(_CHANGES.add_columns(
                    exclusions.c.user_id, exclusions.c.item_id).where(exclusions.c.kind == kind)):
                held = spans(_changes(*row))
                if held:
                    found.setdefault(user, {})[item] = held
        return found

    def forgotten(self) -> int:
        """The version of the exclusions at the last erasure; see `Control.forgotten`."""
        with self._db.read() as connection:
            found: int | None = connection.scalar(sa.select(counters.c.value).where(counters.c.name == FORGOTTEN))
            return found or 0


def _changes(past: str, at: datetime, excluded: bool) -> tuple[Change, ...]:
    return (*((EPOCH + timedelta(microseconds=micros), on) for micros, on in _decode_past(past)), (at, excluded))


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _plan(digest: str, body: str) -> ServingPlan:
    return _decode(body).carrying(digest)


def next_version(connection: sa.Connection) -> int:
    """The next version of the exclusions, inside a write transaction."""
    version: int | None = connection.scalar(sa.update(counters).where(counters.c.name == _EXCLUSIONS).values(
        value=counters.c.value + 1).returning(counters.c.value))
    if version is None:
        version = 1
        connection.execute(sa.insert(counters).values(name=_EXCLUSIONS, value=version))
    return version
