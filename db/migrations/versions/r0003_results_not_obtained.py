"""A report may say that there is no result, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMN = "not_obtained"


def upgrade() -> None:
    """Apply."""
    op.add_column("reports", sa.Column(COLUMN, sa.Text(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER reports_reason_frozen BEFORE UPDATE OF {COLUMN} ON reports FOR EACH ROW "
            "EXECUTE FUNCTION sphero_refuse()"
        )
    else:
        op.execute(
            f"CREATE TRIGGER reports_reason_frozen BEFORE UPDATE OF {COLUMN} ON reports "
            "BEGIN SELECT RAISE(ABORT, 'reports is append only'); END"
        )
