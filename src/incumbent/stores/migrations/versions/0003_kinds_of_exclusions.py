"""Exclusions of categories and of past interactions, beside those of items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("exclusions") as table:
        table.add_column(sa.Column("kind", sa.String(16), nullable=False, server_default="item"))
        table.drop_constraint("pk_exclusions", type_="primary")
        table.create_primary_key("pk_exclusions", ["user_id", "kind", "item_id"])


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM exclusions WHERE kind <> 'item'"))
    with op.batch_alter_table("exclusions") as table:
        table.drop_constraint("pk_exclusions", type_="primary")
        table.drop_column("kind")
        table.create_primary_key("pk_exclusions", ["user_id", "item_id"])
