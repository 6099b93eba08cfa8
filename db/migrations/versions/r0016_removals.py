"""What a retention policy took away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "removals",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("policy_days", sa.Integer(), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("items", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_removals_case_id_cases"),
        sa.PrimaryKeyConstraint("case_id", "kind", name="pk_removals"),
    )
