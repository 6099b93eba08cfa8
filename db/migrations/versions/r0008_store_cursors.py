"""How far the stores that we ask were looked through."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "store_cursors",
        sa.Column("store", sa.String(length=40), nullable=False),
        sa.Column("complete_until", sa.Date(), nullable=True),
        sa.Column("asked_at", TIME, nullable=True),
        sa.Column("swept_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("store", name="pk_store_cursors"),
    )
    op.create_table(
        "store_studies",
        sa.Column("store", sa.String(length=40), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("passed_over", sa.Boolean(), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("store", "study_uid", name="pk_store_studies"),
    )
    op.create_table(
        "store_failures",
        sa.Column("store", sa.String(length=40), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.PrimaryKeyConstraint("store", "sop_instance_uid", name="pk_store_failures"),
    )
    op.create_index("ix_store_failures_store_not_before", "store_failures", ["store", "not_before"])
