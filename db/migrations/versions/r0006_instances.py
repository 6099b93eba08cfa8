"""DICOM instances that were accepted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.columns import NUMBER

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
FIRST = sa.text("state <> 'conflict'")
FROZEN = (
    "position, instance_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, sha256, size_bytes, stored_name, "
    "source, calling_ae, received_at"
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "instances",
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("instance_id", sa.String(length=36), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=True),
        sa.Column("series_uid", sa.String(length=64), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("case_id", sa.String(length=36), nullable=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("settled_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_instances_case_id_cases"),
        sa.PrimaryKeyConstraint("position", name="pk_instances"),
        sa.UniqueConstraint("instance_id", name="uq_instances_instance_id"),
        sa.UniqueConstraint("sop_instance_uid", "sha256", name="uq_instances_sop_instance_uid_sha256"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_instances_state_position", "instances", ["state", "position"])
    op.create_index("ix_instances_case_id", "instances", ["case_id"])
    op.create_index("ix_instances_sha256", "instances", ["sha256"])
    op.create_index(
        "uq_instances_first",
        "instances",
        ["sop_instance_uid"],
        unique=True,
        sqlite_where=FIRST,
        postgresql_where=FIRST,
    )
    freeze(op.get_bind().dialect.name)


def freeze(dialect: str) -> None:
    """What came in stays; as in revision 0002."""
    if dialect == "postgresql":
        refuse = "EXECUTE FUNCTION sphero_refuse()"
        op.execute(f"CREATE TRIGGER instances_frozen BEFORE UPDATE OF {FROZEN} ON instances FOR EACH ROW {refuse}")
        op.execute(f"CREATE TRIGGER instances_kept BEFORE DELETE ON instances FOR EACH ROW {refuse}")
        op.execute(f"CREATE TRIGGER instances_whole BEFORE TRUNCATE ON instances FOR EACH STATEMENT {refuse}")
    else:
        refuse = "BEGIN SELECT RAISE(ABORT, 'instances is append only'); END"
        op.execute(f"CREATE TRIGGER instances_frozen BEFORE UPDATE OF {FROZEN} ON instances {refuse}")
        op.execute(f"CREATE TRIGGER instances_kept BEFORE DELETE ON instances {refuse}")
