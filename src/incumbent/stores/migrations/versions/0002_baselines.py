"""Baselines of drift, with the frames and windows of their streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, VARCHAR

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Key = sa.String(512).with_variant(VARCHAR(512, collation="C"), "postgresql")
Json = sa.JSON().with_variant(JSONB(), "postgresql")
Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "baselines",
        sa.Column("name", Key), sa.Column("version", sa.Integer, autoincrement=False),
        sa.Column("built_at", Time, nullable=False), sa.Column("since", Time, nullable=False),
        sa.Column("until", Time, nullable=False), sa.Column("window", sa.String(16), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False), sa.Column("hash", sa.String(32), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_baselines"),
    )
    op.create_table(
        "baseline_parts",
        sa.Column("name", Key), sa.Column("version", sa.Integer, autoincrement=False), sa.Column("stream", Key),
        sa.Column("part", sa.String(64)), sa.Column("state", sa.String(64), nullable=False),
        sa.Column("config_hash", sa.String(64), nullable=False), sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", "stream", "part", name="pk_baseline_parts"),
    )


def downgrade() -> None:
    op.drop_table("baseline_parts")
    op.drop_table("baselines")
