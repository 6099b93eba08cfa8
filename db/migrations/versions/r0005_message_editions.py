"""Messages that a person corrected, messages that leave in one file, and how long answers take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNFINISHED = "state NOT IN ('delivered', 'skipped')"
OLD_UNIQUE = "uq_messages_case_id_revision_destination"
UNIQUE = "uq_messages_case_id_revision_destination_edition"
KEPT = (
    "position, message_id, case_id, revision, destination, order_key, control_id, body, sha256, state, attempts, "
    "next_attempt_at, lease_owner, lease_expires_at, reason, ack_code, ack, created_at, delivered_at"
)
FROZEN = (
    "position, message_id, case_id, revision, destination, edition, supersedes, order_key, control_id, body, sha256, "
    "created_at"
)


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "postgresql":
        alter_postgresql()
    else:
        rebuild_sqlite()
    op.create_index(
        "ix_messages_batch",
        "messages",
        ["destination", "batch"],
        unique=False,
        sqlite_where=sa.text("batch IS NOT NULL"),
        postgresql_where=sa.text("batch IS NOT NULL"),
    )


def alter_postgresql() -> None:
    """Add what is new, and freeze it."""
    op.execute("DROP TRIGGER messages_frozen ON messages")
    op.execute(
        "ALTER TABLE messages ADD COLUMN edition INTEGER NOT NULL DEFAULT 1, ADD COLUMN supersedes VARCHAR(36), "
        "ADD COLUMN ack_seconds DOUBLE PRECISION, ADD COLUMN batch BIGINT"
    )
    op.execute("ALTER TABLE messages ALTER COLUMN edition DROP DEFAULT")
    op.drop_constraint(OLD_UNIQUE, "messages", type_="unique")
    op.create_unique_constraint(UNIQUE, "messages", ["case_id", "revision", "destination", "edition"])
    op.create_unique_constraint("uq_messages_supersedes", "messages", ["supersedes"])
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
        sa.UniqueConstraint("case_id", "revision", "destination", "edition", name=UNIQUE),
        sa.UniqueConstraint("control_id", name="uq_messages_control_id"),
        sa.UniqueConstraint("message_id", name="uq_messages_message_id"),
        sa.UniqueConstraint("supersedes", name="uq_messages_supersedes"),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO messages_new ({KEPT}, edition) SELECT {KEPT}, 1 FROM messages")  # noqa: S608  # our own names
    op.execute("DROP TABLE messages")  # its triggers and indexes go with it; nothing refers to it
    op.execute("ALTER TABLE messages_new RENAME TO messages")
    op.execute(f"CREATE INDEX ix_messages_order ON messages (destination, order_key, position) WHERE {UNFINISHED}")
    op.execute(f"CREATE INDEX ix_messages_queue ON messages (destination, position) WHERE {UNFINISHED}")
    refuse = "BEGIN SELECT RAISE(ABORT, 'messages is append only'); END"
    op.execute(f"CREATE TRIGGER messages_frozen BEFORE UPDATE OF {FROZEN} ON messages {refuse}")
    op.execute(f"CREATE TRIGGER messages_kept BEFORE DELETE ON messages {refuse}")
