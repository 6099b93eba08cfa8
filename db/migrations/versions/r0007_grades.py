"""A report keeps its grade and the statistics behind its numbers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = "grade, grade_scheme, detected, statistics"


def upgrade() -> None:
    """Apply."""
    for name in ("grade", "grade_scheme", "statistics"):
        op.add_column("reports", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("reports", sa.Column("detected", sa.Boolean(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER reports_grade_frozen BEFORE UPDATE OF {COLUMNS} ON reports FOR EACH ROW "
            "EXECUTE FUNCTION sphero_refuse()"
        )
    else:
        op.execute(
            f"CREATE TRIGGER reports_grade_frozen BEFORE UPDATE OF {COLUMNS} ON reports "
            "BEGIN SELECT RAISE(ABORT, 'reports is append only'); END"
        )
