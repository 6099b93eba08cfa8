"""Date, time and number of the study that an instance is of: what is added to the study tells the same."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; instances that came before have none."""
    for name, length in (("study_date", 8), ("study_time", 16), ("study_id", 16)):
        op.add_column("instance_headers", sa.Column(name, sa.String(length=length), nullable=True))


def downgrade() -> None:
    """Undo."""
    for name in ("study_id", "study_time", "study_date"):
        op.drop_column("instance_headers", name)
