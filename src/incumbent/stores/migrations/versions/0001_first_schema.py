"""The first schema of Control."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, VARCHAR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Key = sa.String(512).with_variant(VARCHAR(512, collation="C"), "postgresql")
Json = sa.JSON().with_variant(JSONB(), "postgresql")
Count = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.DateTime(timezone=True)

TABLES = ("states", "cursors", "counters", "plans", "exclusions", "leases", "conclusions", "memories", "outbox",
          "experiments", "stage_changes", "seals", "matured", "restated")


def upgrade() -> None:
    _what_is_measured()
    _what_is_served()
    _what_is_concluded()
    _experiments()
    _maturity()


def _what_is_measured() -> None:
    op.create_table(
        "states",
        sa.Column("family", Key), sa.Column("day", sa.Date),
        sa.Column("bucket", sa.Integer, autoincrement=False), sa.Column("key", Key),
        sa.Column("state", sa.String(64), nullable=False), sa.Column("config_hash", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("family", "day", "bucket", "key", name="pk_states"),
    )
    op.create_index("ix_states_key_day", "states", ["key", "day"])
    op.create_table("cursors", sa.Column("name", Key), sa.Column("value", sa.Text, nullable=False),
                    sa.PrimaryKeyConstraint("name", name="pk_cursors"))
    op.create_table("counters", sa.Column("name", Key), sa.Column("value", Count, nullable=False),
                    sa.PrimaryKeyConstraint("name", name="pk_counters"))
    op.create_table(
        "leases",
        sa.Column("name", Key), sa.Column("holder", sa.Text, nullable=False), sa.Column("token", Count, nullable=False),
        sa.Column("until", Time, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


def _what_is_served() -> None:
    op.create_table(
        "plans",
        sa.Column("version", sa.Integer, autoincrement=False), sa.Column("hash", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_plans"),
    )
    op.create_index("ix_plans_hash", "plans", ["hash"])
    op.create_table(
        "exclusions",
        sa.Column("user_id", Key), sa.Column("item_id", Key), sa.Column("excluded", sa.Boolean, nullable=False),
        sa.Column("at", Time, nullable=False), sa.Column("version", Count, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "item_id", name="pk_exclusions"),
    )
    op.create_index("ix_exclusions_version", "exclusions", ["version"])


def _what_is_concluded() -> None:
    op.create_table(
        "conclusions",
        sa.Column("event_id", Key), sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text, nullable=False), sa.Column("time", Time, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_conclusions"),
    )
    op.create_index("ix_conclusions_kind_time", "conclusions", ["kind", "time"])
    op.create_index("ix_conclusions_subject_time", "conclusions", ["subject", "time"])
    op.create_index("ix_conclusions_time", "conclusions", ["time"])
    op.create_table("memories", sa.Column("name", Key), sa.Column("data", sa.LargeBinary, nullable=False),
                    sa.PrimaryKeyConstraint("name", name="pk_memories"))
    op.create_table(
        "outbox",
        sa.Column("position", Count, autoincrement=True), sa.Column("id", Key, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False), sa.Column("payload", Json, nullable=False),
        sa.Column("created_at", Time, nullable=False), sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("position", name="pk_outbox"), sa.UniqueConstraint("id", name="uq_outbox_id"),
        sqlite_autoincrement=True,
    )


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("name", Key), sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("since", Time, nullable=False), sa.Column("started_at", Time, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False), sa.Column("verdict", sa.String(16)),
        sa.Column("version", sa.Integer, nullable=False), sa.Column("definition", Json, nullable=False),
        sa.Column("ended_at", Time),
        sa.PrimaryKeyConstraint("name", name="pk_experiments"),
    )
    op.create_table(
        "stage_changes",
        sa.Column("experiment", Key), sa.Column("since", Time), sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("share", sa.Double, nullable=False), sa.Column("until", Time),
        sa.PrimaryKeyConstraint("experiment", "since", name="pk_stage_changes"),
    )


def _maturity() -> None:
    op.create_table(
        "seals",
        sa.Column("experiment", Key), sa.Column("day", sa.Date), sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("units", sa.Integer, nullable=False), sa.Column("hash", sa.String(32), nullable=False),
        sa.Column("sealed_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("experiment", "day", name="pk_seals"),
        sa.UniqueConstraint("experiment", "sequence", name="uq_seals_experiment_sequence"),
    )
    for name, extra in (("matured", sa.Column("sequence", sa.Integer, nullable=False)),
                        ("restated", sa.Column("at", Time, nullable=False))):
        op.create_table(
            name,
            sa.Column("experiment", Key), sa.Column("unit", Key), sa.Column("lane", sa.String(64), nullable=False),
            sa.Column("stage", sa.String(16), nullable=False), sa.Column("exposed_at", Time, nullable=False),
            sa.Column("matured_at", Time, nullable=False), sa.Column("x", sa.Double, nullable=False),
            sa.Column("y", sa.Double, nullable=False), sa.Column("n", sa.Double, nullable=False),
            sa.Column("value", sa.Double, nullable=False), sa.Column("requests", sa.Integer, nullable=False), extra,
            sa.PrimaryKeyConstraint("experiment", "unit", name=f"pk_{name}"),
        )
        op.create_index(f"ix_{name}_unit", name, ["unit"])
    op.create_index("ix_matured_experiment_sequence", "matured", ["experiment", "sequence"])


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_table(name)
