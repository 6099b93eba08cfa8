"""What others asked us to commit ourselves to keep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pledges",
        sa.Column("pledge_id", sa.String(length=36), nullable=False),
        sa.Column("requester", sa.String(length=16), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("settled_at", TIME, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("pledge_id", name="pk_pledges"),
        sa.UniqueConstraint("requester", "transaction_uid", name="uq_pledges_requester_transaction_uid"),
    )
    op.create_index("ix_pledges_state_next_attempt_at", "pledges", ["state", "next_attempt_at"])
    op.create_table(
        "pledge_items",
        sa.Column("pledge_id", sa.String(length=36), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["pledge_id"], ["pledges.pledge_id"], name="fk_pledge_items_pledge_id_pledges"),
        sa.PrimaryKeyConstraint("pledge_id", "place", name="pk_pledge_items"),
    )
