"""What was written once stays: the audit chain, reports, and the frozen parts of messages."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

AUDIT = ("sequence", "at", "actor", "action", "case_id", "detail", "previous_hash", "hash")
REPORTS = (
    "report_id",
    "case_id",
    "revision",
    "status",
    "red_cells",
    "spherocytes",
    "spherocyte_percent",
    "ci95_low",
    "ci95_high",
    "counted_fields",
    "limitations",
    "bundle_name",
    "bundle_version",
    "bundle_sha256",
    "body",
    "created_at",
)
MESSAGES = (
    "position",
    "message_id",
    "case_id",
    "revision",
    "destination",
    "order_key",
    "control_id",
    "body",
    "sha256",
    "created_at",
)
FROZEN = {"audit_events": AUDIT, "reports": REPORTS, "messages": MESSAGES}


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "postgresql":
        freeze_postgresql()
    else:
        freeze_sqlite()


def freeze_sqlite() -> None:
    """Triggers for SQLite."""
    for table, columns in FROZEN.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append only'); END"
        op.execute(f"CREATE TRIGGER {table}_frozen BEFORE UPDATE OF {', '.join(columns)} ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} {refuse}")
    refuse = "BEGIN SELECT RAISE(ABORT, 'audit_head only moves on'); END"
    op.execute(f"CREATE TRIGGER audit_head_kept BEFORE DELETE ON audit_head {refuse}")
    op.execute(
        "CREATE TRIGGER audit_head_moves_on BEFORE UPDATE ON audit_head "
        f"WHEN NEW.sequence <= OLD.sequence OR NEW.head_id <> OLD.head_id {refuse}"
    )


def freeze_postgresql() -> None:
    """Triggers for PostgreSQL, where TRUNCATE has to be refused as well."""
    op.execute(
        "CREATE FUNCTION sphero_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append only', TG_TABLE_NAME; END $$"
    )
    refuse = "EXECUTE FUNCTION sphero_refuse()"
    for table, columns in FROZEN.items():
        changed = f"UPDATE OF {', '.join(columns)}"
        op.execute(f"CREATE TRIGGER {table}_frozen BEFORE {changed} ON {table} FOR EACH ROW {refuse}")
        op.execute(f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} FOR EACH ROW {refuse}")
        op.execute(f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}")
    op.execute(f"CREATE TRIGGER audit_head_kept BEFORE DELETE ON audit_head FOR EACH ROW {refuse}")
    op.execute(f"CREATE TRIGGER audit_head_whole BEFORE TRUNCATE ON audit_head FOR EACH STATEMENT {refuse}")
    op.execute(
        "CREATE TRIGGER audit_head_moves_on BEFORE UPDATE ON audit_head FOR EACH ROW "
        f"WHEN (NEW.sequence <= OLD.sequence OR NEW.head_id <> OLD.head_id) {refuse}"
    )
