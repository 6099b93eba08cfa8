"""DICOM objects that tell results: several messages a version and destination, one for each object; commitments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNFINISHED = "state NOT IN ('delivered', 'skipped')"
OLD_UNIQUE = "uq_messages_case_id_revision_destination_edition"
UNIQUE = "uq_messages_case_id_revision_destination_part_edition"
KEPT = (
    "position, message_id, case_id, revision, destination, edition, supersedes, order_key, control_id, body, sha256, "
    "state, attempts, next_attempt_at, lease_owner, lease_expires_at, reason, ack_code, ack, ack_seconds, batch, "
    "created_at, delivered_at"
)
FROZEN = (
    "position, message_id, case_id, revision, destination, part, edition, supersedes, order_key, control_id, body, "
    "sha256, created_at"
)
OBJECT = (
    "sop_instance_uid, case_id, revision, kind, field_id, sop_class_uid, series_uid, study_uid, transfer_syntax_uid, "
    "sha256, size_bytes, stored_name, replaces, created_at"
)


def upgrade() -> None:
    """Apply."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        alter_postgresql()
    else:
        rebuild_sqlite()
    create_objects()
    create_commitments()
    freeze_objects(postgresql=postgresql)


def create_objects() -> None:
    """The objects."""
    op.create_table(
        "result_objects",
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("field_id", sa.String(length=36), nullable=True),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_name", sa.Text(), nullable=False),
        sa.Column("replaces", sa.String(length=64), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_result_objects_case_id_cases"),
        sa.ForeignKeyConstraint(["field_id"], ["fields.field_id"], name="fk_result_objects_field_id_fields"),
        sa.PrimaryKeyConstraint("sop_instance_uid", name="pk_result_objects"),
    )
    op.create_index("ix_result_objects_case_id_revision", "result_objects", ["case_id", "revision"])


def create_commitments() -> None:
    """What archives said."""
    op.create_table(
        "commitments",
        sa.Column("commitment_id", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("ask_again_at", TIME, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("settled_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["sop_instance_uid"],
            ["result_objects.sop_instance_uid"],
            name="fk_commitments_sop_instance_uid_result_objects",
        ),
        sa.PrimaryKeyConstraint("commitment_id", name="pk_commitments"),
        sa.UniqueConstraint("message_id", name="uq_commitments_message_id"),
    )
    op.create_index("ix_commitments_destination_state", "commitments", ["destination", "state"])
    op.create_index("ix_commitments_transaction_uid", "commitments", ["transaction_uid"])


def freeze_objects(*, postgresql: bool) -> None:
    """What was made stays as it was made."""
    if postgresql:
        refuse = "EXECUTE FUNCTION sphero_refuse()"
        op.execute(
            f"CREATE TRIGGER result_objects_frozen BEFORE UPDATE OF {OBJECT} ON result_objects FOR EACH ROW {refuse}"
        )
        op.execute(f"CREATE TRIGGER result_objects_kept BEFORE DELETE ON result_objects FOR EACH ROW {refuse}")
        op.execute(f"CREATE TRIGGER result_objects_whole BEFORE TRUNCATE ON result_objects FOR EACH STATEMENT {refuse}")
        return
    refuse = "BEGIN SELECT RAISE(ABORT, 'result_objects is append only'); END"
    op.execute(f"CREATE TRIGGER result_objects_frozen BEFORE UPDATE OF {OBJECT} ON result_objects {refuse}")
    op.execute(f"CREATE TRIGGER result_objects_kept BEFORE DELETE ON result_objects {refuse}")


def alter_postgresql() -> None:
    """Add what is new, and freeze it."""
    op.execute("DROP TRIGGER messages_frozen ON messages")
    op.execute("ALTER TABLE messages ADD COLUMN part TEXT NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE messages ALTER COLUMN part DROP DEFAULT")
    op.drop_constraint(OLD_UNIQUE, "messages", type_="unique")
    op.create_unique_constraint(UNIQUE, "messages", ["case_id", "revision", "destination", "part", "edition"])
    op.execute(
        f"CREATE TRIGGER messages_frozen BEFORE UPDATE OF {FROZEN} ON messages "
        "FOR EACH ROW EXECUTE FUNCTION sphero_refuse()"
    )


def rebuild_sqlite() -> None:
    """SQLite drops no constraint: the rows move into a new table, with their places in the queue."""
    op.create_table(
        "messages_new",
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("supersedes", sa.String(length=36), nullable=True),
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("control_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", TIME, nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", TIME, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ack_code", sa.Text(), nullable=True),
        sa.Column("ack", sa.LargeBinary(), nullable=True),
        sa.Column("ack_seconds", sa.Double(), nullable=True),
        sa.Column("batch", sa.BigInteger(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_messages_case_id_cases"),
        sa.PrimaryKeyConstraint("position", name="pk_messages"),
        sa.UniqueConstraint("case_id", "revision", "destination", "part", "edition", name=UNIQUE),
        sa.UniqueConstraint("control_id", name="uq_messages_control_id"),
        sa.UniqueConstraint("message_id", name="uq_messages_message_id"),
        sa.UniqueConstraint("supersedes", name="uq_messages_supersedes"),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO messages_new ({KEPT}, part) SELECT {KEPT}, '' FROM messages")  # noqa: S608  # our own names
    op.execute("DROP TABLE messages")  # its triggers and indexes go with it; nothing refers to it
    op.execute("ALTER TABLE messages_new RENAME TO messages")
    op.execute(f"CREATE INDEX ix_messages_order ON messages (destination, order_key, position) WHERE {UNFINISHED}")
    op.execute(f"CREATE INDEX ix_messages_queue ON messages (destination, position) WHERE {UNFINISHED}")
    op.execute("CREATE INDEX ix_messages_batch ON messages (destination, batch) WHERE batch IS NOT NULL")
    refuse = "BEGIN SELECT RAISE(ABORT, 'messages is append only'); END"
    op.execute(f"CREATE TRIGGER messages_frozen BEFORE UPDATE OF {FROZEN} ON messages {refuse}")
    op.execute(f"CREATE TRIGGER messages_kept BEFORE DELETE ON messages {refuse}")
