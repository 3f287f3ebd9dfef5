"""What shoppers excluded and took back before what stands now."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("exclusions") as table:
        table.add_column(sa.Column("past", sa.Text(), nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("exclusions") as table:
        table.drop_column("past")
