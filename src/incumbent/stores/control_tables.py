"""The tables of Control, as SQLAlchemy Core: one schema for SQLite and PostgreSQL.

A change here needs a migration in ``migrations/versions`` and the new `HEAD`; a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB, VARCHAR

HEAD = "0004"  # the newest migration

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept and given back in UTC; naive ones are refused (SQLite itself keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without zone: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


#: text that is compared by its bytes on every database, so that a prefix is a range
Key = String(512).with_variant(VARCHAR(512, collation="C"), "postgresql")
Json = JSON().with_variant(JSONB(), "postgresql")
Count = BigInteger().with_variant(Integer(), "sqlite")

# states, and the cursors they stand on
states = Table(
    "states", metadata,
    Column("family", Key, primary_key=True), Column("day", Date, primary_key=True),
    Column("bucket", Integer, primary_key=True), Column("key", Key, primary_key=True),
    Column("state", String(64), nullable=False), Column("config_hash", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index(None, "key", "day"),
)
cursors = Table("cursors", metadata, Column("name", Key, primary_key=True), Column("value", Text, nullable=False))
#: numbers that only grow: the version of the exclusions
counters = Table("counters", metadata, Column("name", Key, primary_key=True), Column("value", Count, nullable=False))

# what is served
plans = Table(
    "plans", metadata,
    Column("version", Integer, primary_key=True, autoincrement=False), Column("hash", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "hash"),
)
exclusions = Table(
    "exclusions", metadata,
    Column("user_id", Key, primary_key=True), Column("kind", String(16), primary_key=True),
    Column("item_id", Key, primary_key=True),  # or the category, or the event id
    Column("excluded", Boolean, nullable=False), Column("at", UtcTime, nullable=False),
    Column("version", Count, nullable=False),
    Column("past", Text, nullable=False),  # the changes before it, as JSON: [microseconds since 1970, excluded]
    Index(None, "version"),
)

# who does what
leases = Table(
    "leases", metadata,
    Column("name", Key, primary_key=True), Column("holder", Text, nullable=False),
    Column("token", Count, nullable=False), Column("until", UtcTime, nullable=False),
)

# conclusions and what follows from them
conclusions = Table(
    "conclusions", metadata,
    Column("event_id", Key, primary_key=True), Column("kind", String(16), nullable=False),
    Column("subject", Text, nullable=False), Column("time", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "kind", "time"), Index(None, "subject", "time"), Index(None, "time"),
)
memories = Table("memories", metadata, Column("name", Key, primary_key=True),
                 Column("data", LargeBinary, nullable=False))
outbox = Table(
    "outbox", metadata,
    Column("position", Count, primary_key=True, autoincrement=True), Column("id", Key, nullable=False),
    Column("kind", String(64), nullable=False), Column("payload", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False), Column("attempts", Integer, nullable=False),
    Column("error", Text),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,
)

# experiments
experiments = Table(
    "experiments", metadata,
    Column("name", Key, primary_key=True), Column("stage", String(16), nullable=False),
    Column("since", UtcTime, nullable=False), Column("started_at", UtcTime, nullable=False),
    Column("held", Boolean, nullable=False), Column("verdict", String(16)), Column("version", Integer, nullable=False),
    Column("definition", Json, nullable=False), Column("ended_at", UtcTime),
)
stage_changes = Table(
    "stage_changes", metadata,
    Column("experiment", Key, primary_key=True), Column("since", UtcTime, primary_key=True),
    Column("stage", String(16), nullable=False), Column("share", Double, nullable=False), Column("until", UtcTime),
)
seals = Table(
    "seals", metadata,
    Column("experiment", Key, primary_key=True), Column("day", Date, primary_key=True),
    Column("sequence", Integer, nullable=False), Column("units", Integer, nullable=False),
    Column("hash", String(32), nullable=False), Column("sealed_at", UtcTime, nullable=False),
    UniqueConstraint("experiment", "sequence"),
)


def _unit_columns() -> list[Column[Any]]:
    return [
        Column("experiment", Key, primary_key=True), Column("unit", Key, primary_key=True),
        Column("lane", String(64), nullable=False), Column("stage", String(16), nullable=False),
        Column("exposed_at", UtcTime, nullable=False), Column("matured_at", UtcTime, nullable=False),
        Column("x", Double, nullable=False), Column("y", Double, nullable=False), Column("n", Double, nullable=False),
        Column("value", Double, nullable=False), Column("requests", Integer, nullable=False),
    ]


matured = Table("matured", metadata, *_unit_columns(), Column("sequence", Integer, nullable=False),
                Index(None, "experiment", "sequence"), Index(None, "unit"))
restated = Table("restated", metadata, *_unit_columns(), Column("at", UtcTime, nullable=False), Index(None, "unit"))

# baselines of drift: written once
baselines = Table(
    "baselines", metadata,
    Column("name", Key, primary_key=True), Column("version", Integer, primary_key=True, autoincrement=False),
    Column("built_at", UtcTime, nullable=False), Column("since", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False), Column("window", String(16), nullable=False),
    Column("time_zone", String(64), nullable=False), Column("hash", String(32), nullable=False),
    Column("definition", Json, nullable=False),
)
baseline_parts = Table(
    "baseline_parts", metadata,
    Column("name", Key, primary_key=True), Column("version", Integer, primary_key=True, autoincrement=False),
    Column("stream", Key, primary_key=True), Column("part", String(64), primary_key=True),
    Column("state", String(64), nullable=False), Column("config_hash", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
)
