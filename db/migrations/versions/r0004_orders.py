"""What the LIS tells: received messages, orders, patients and their merges; issuers of the numbers that are echoed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.columns import NUMBER

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
TAKEN = sa.text("control_id <> '' AND state IN ('received', 'applied')")

FROZEN = {
    "inbound_messages": ("position", "message_id", "sender", "control_id", "kind", "body", "sha256", "received_at"),
    "patient_merges": (
        "merge_number",
        "prior_identifier",
        "prior_authority",
        "survivor_identifier",
        "survivor_authority",
        "prior_key",
        "survivor_key",
        "message_id",
        "at",
    ),
}


def upgrade() -> None:
    """Apply."""
    op.add_column("case_identities", sa.Column("placer_issuer", sa.Text(), nullable=True))
    op.add_column("case_identities", sa.Column("filler_issuer", sa.Text(), nullable=True))
    create_inbound()
    create_patients()
    create_orders()
    freeze(op.get_bind().dialect.name)


def create_inbound() -> None:
    """Messages as they came."""
    op.create_table(
        "inbound_messages",
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("control_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("answer_code", sa.Text(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("settled_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_inbound_messages"),
        sa.UniqueConstraint("message_id", name="uq_inbound_messages_message_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbound_messages_sender_control_id", "inbound_messages", ["sender", "control_id"])
    op.create_index("ix_inbound_messages_state", "inbound_messages", ["state"])
    op.create_index(
        "uq_inbound_messages_taken",
        "inbound_messages",
        ["sender", "control_id"],
        unique=True,
        sqlite_where=TAKEN,
        postgresql_where=TAKEN,
    )


def create_patients() -> None:
    """Patients, their identifiers, and the history of merges."""
    op.create_table(
        "patients",
        sa.Column("patient_key", sa.String(length=36), nullable=False),
        sa.Column("family", sa.Text(), nullable=True),
        sa.Column("given", sa.Text(), nullable=True),
        sa.Column("birth_date", sa.Text(), nullable=True),
        sa.Column("sex", sa.Text(), nullable=True),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("patient_key", name="pk_patients"),
    )
    op.create_table(
        "patient_identifiers",
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("patient_key", sa.String(length=36), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["patient_key"], ["patients.patient_key"], name="fk_patient_identifiers_patient_key_patients"
        ),
        sa.PrimaryKeyConstraint("identifier", "authority", name="pk_patient_identifiers"),
    )
    op.create_index("ix_patient_identifiers_patient_key", "patient_identifiers", ["patient_key"])
    op.create_table(
        "patient_merges",
        sa.Column("merge_number", NUMBER, nullable=False),
        sa.Column("prior_identifier", sa.Text(), nullable=False),
        sa.Column("prior_authority", sa.Text(), nullable=False),
        sa.Column("survivor_identifier", sa.Text(), nullable=False),
        sa.Column("survivor_authority", sa.Text(), nullable=False),
        sa.Column("prior_key", sa.String(length=36), nullable=True),
        sa.Column("survivor_key", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("merge_number", name="pk_patient_merges"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_patient_merges_survivor_key", "patient_merges", ["survivor_key"])


def create_orders() -> None:
    """Orders, and the cases that belong to them."""
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("accession", sa.Text(), nullable=False),
        sa.Column("accession_issuer", sa.Text(), nullable=False),
        sa.Column("placer_order", sa.Text(), nullable=True),
        sa.Column("placer_issuer", sa.Text(), nullable=False),
        sa.Column("filler_order", sa.Text(), nullable=True),
        sa.Column("filler_issuer", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("specimen", sa.Text(), nullable=False),
        sa.Column("collected", TIME, nullable=True),
        sa.Column("patient_key", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patients.patient_key"], name="fk_orders_patient_key_patients"),
        sa.PrimaryKeyConstraint("order_id", name="pk_orders"),
    )
    for column in ("accession", "placer_order", "filler_order", "patient_key"):
        op.create_index(f"ix_orders_{column}", "orders", [column])
    op.create_table(
        "case_orders",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=True),
        sa.Column("linked_by", sa.Text(), nullable=True),
        sa.Column("linked_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_case_orders_case_id_cases"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name="fk_case_orders_order_id_orders"),
        sa.PrimaryKeyConstraint("case_id", name="pk_case_orders"),
    )
    op.create_index("ix_case_orders_order_id", "case_orders", ["order_id"])


def freeze(dialect: str) -> None:
    """What came in, and what was merged, stays; as in revision 0002."""
    for table, columns in FROZEN.items():
        changed = f"UPDATE OF {', '.join(columns)}"
        if dialect == "postgresql":
            refuse = "EXECUTE FUNCTION sphero_refuse()"
            op.execute(f"CREATE TRIGGER {table}_frozen BEFORE {changed} ON {table} FOR EACH ROW {refuse}")
            op.execute(f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} FOR EACH ROW {refuse}")
            op.execute(f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}")
        else:
            refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append only'); END"
            op.execute(f"CREATE TRIGGER {table}_frozen BEFORE {changed} ON {table} {refuse}")
            op.execute(f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} {refuse}")
