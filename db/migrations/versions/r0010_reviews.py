"""People's acts: who signed, rejected or withdrew a version, which cells got another class, and the reports for people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = ("report_acts", "cell_reviews", "report_files")


def upgrade() -> None:
    """Apply."""
    create_tables()
    for table in TABLES:
        if op.get_bind().dialect.name == "postgresql":
            refuse = "EXECUTE FUNCTION sphero_refuse()"
            op.execute(f"CREATE TRIGGER {table}_frozen BEFORE UPDATE ON {table} FOR EACH ROW {refuse}")
            op.execute(f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} FOR EACH ROW {refuse}")
            op.execute(f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}")
        else:
            refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append only'); END"
            op.execute(f"CREATE TRIGGER {table}_frozen BEFORE UPDATE ON {table} {refuse}")
            op.execute(f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} {refuse}")


def create_tables() -> None:
    """The tables and their indexes."""
    op.create_table(
        "report_acts",
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("grade", sa.Text(), nullable=True),
        sa.Column("machine_grade", sa.Text(), nullable=True),
        sa.Column("grade_reason", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["reports.report_id"], name="fk_report_acts_report_id_reports"),
        sa.PrimaryKeyConstraint("report_id", name="pk_report_acts"),
    )
    op.create_table(
        "cell_reviews",
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("analysis_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cell_class", sa.String(length=24), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_cell_reviews_case_id_cases"),
        sa.ForeignKeyConstraint(
            ["analysis_id", "number"], ["cells.analysis_id", "cells.number"], name="fk_cell_reviews_analysis_id_cells"
        ),
        sa.PrimaryKeyConstraint("sequence", name="pk_cell_reviews"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cell_reviews_analysis_id_number", "cell_reviews", ["analysis_id", "number"])
    op.create_index("ix_cell_reviews_case_id", "cell_reviews", ["case_id"])
    op.create_table(
        "report_files",
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_name", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["reports.report_id"], name="fk_report_files_report_id_reports"),
        sa.PrimaryKeyConstraint("report_id", "kind", name="pk_report_files"),
    )
