"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ACTIVE = sa.text("active")
UNFINISHED = sa.text("state NOT IN ('delivered', 'skipped')")


def upgrade() -> None:
    """Apply."""
    create_cases()
    create_results()
    create_messages()
    create_audit()


def create_cases() -> None:
    """Cases, whose they are, and what arrived for them."""
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("return_state", sa.String(length=24), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("last_arrival_at", TIME, nullable=False),
        sa.Column("expected_fields", sa.Integer(), nullable=True),
        sa.Column("um_per_pixel", sa.Double(), nullable=True),
        sa.Column("pixel_aspect", sa.Double(), nullable=True),
        sa.Column("stain", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", TIME, nullable=True),
        sa.Column("flow_run_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("case_id", name="pk_cases"),
    )
    op.create_index("ix_cases_state_last_arrival_at", "cases", ["state", "last_arrival_at"], unique=False)
    op.create_table(
        "case_identities",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("arrival_accession", sa.Text(), nullable=False),
        sa.Column("arrival_issuer", sa.Text(), nullable=False),
        sa.Column("accession", sa.Text(), nullable=False),
        sa.Column("accession_issuer", sa.Text(), nullable=False),
        sa.Column("placer_order", sa.Text(), nullable=True),
        sa.Column("filler_order", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("patient_issuer", sa.Text(), nullable=True),
        sa.Column("family", sa.Text(), nullable=True),
        sa.Column("given", sa.Text(), nullable=True),
        sa.Column("birth_date", sa.Text(), nullable=True),
        sa.Column("sex", sa.Text(), nullable=True),
        sa.Column("collected", TIME, nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_case_identities_case_id_cases"),
        sa.PrimaryKeyConstraint("case_id", name="pk_case_identities"),
    )
    op.create_index(
        "uq_case_identities_accession",
        "case_identities",
        ["accession", "accession_issuer"],
        unique=True,
        sqlite_where=ACTIVE,
        postgresql_where=ACTIVE,
    )
    op.create_index(
        "uq_case_identities_arrival",
        "case_identities",
        ["arrival_accession", "arrival_issuer"],
        unique=True,
        sqlite_where=ACTIVE,
        postgresql_where=ACTIVE,
    )
    op.create_table(
        "case_holds",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("placed_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_case_holds_case_id_cases"),
        sa.PrimaryKeyConstraint("case_id", "reason", name="pk_case_holds"),
    )
    op.create_table(
        "stored_files",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("stored_name", sa.Text(), nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_stored_files"),
    )
    op.create_table(
        "fields",
        sa.Column("field_id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_fields_case_id_cases"),
        sa.ForeignKeyConstraint(["sha256"], ["stored_files.sha256"], name="fk_fields_sha256_stored_files"),
        sa.PrimaryKeyConstraint("field_id", name="pk_fields"),
        sa.UniqueConstraint("case_id", "number", name="uq_fields_case_id_number"),
        sa.UniqueConstraint("case_id", "sha256", "frame", name="uq_fields_case_id_sha256_frame"),
    )
    op.create_index("ix_fields_sha256", "fields", ["sha256"], unique=False)
    op.create_table(
        "quarantined_files",
        sa.Column("quarantine_id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("stored_name", sa.Text(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_quarantined_files_case_id_cases"),
        sa.PrimaryKeyConstraint("quarantine_id", name="pk_quarantined_files"),
    )
    op.create_index("ix_quarantined_files_case_id", "quarantined_files", ["case_id"], unique=False)
    op.create_table(
        "arrivals",
        sa.Column("source_digest", sa.String(length=64), nullable=False),
        sa.Column("frame", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("field_id", sa.String(length=36), nullable=True),
        sa.Column("quarantine_id", sa.String(length=36), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["field_id"], ["fields.field_id"], name="fk_arrivals_field_id_fields"),
        sa.ForeignKeyConstraint(
            ["quarantine_id"], ["quarantined_files.quarantine_id"], name="fk_arrivals_quarantine_id_quarantined_files"
        ),
        sa.PrimaryKeyConstraint("source_digest", "frame", name="pk_arrivals"),
    )


def create_results() -> None:
    """What was found, and what was reported of it."""
    op.create_table(
        "analyses",
        sa.Column("analysis_id", NUMBER, nullable=False),
        sa.Column("field_id", sa.String(length=36), nullable=False),
        sa.Column("bundle_name", sa.Text(), nullable=False),
        sa.Column("bundle_version", sa.Text(), nullable=False),
        sa.Column("bundle_sha256", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("cell_diameter_px", sa.Double(), nullable=True),
        sa.Column("passes", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("saturated", sa.Boolean(), nullable=False),
        sa.Column("quality_accepted", sa.Boolean(), nullable=False),
        sa.Column("quality_reasons", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["field_id"], ["fields.field_id"], name="fk_analyses_field_id_fields"),
        sa.PrimaryKeyConstraint("analysis_id", name="pk_analyses"),
        sa.UniqueConstraint("field_id", "bundle_sha256", name="uq_analyses_field_id_bundle_sha256"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cells",
        sa.Column("analysis_id", NUMBER, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cell_class", sa.String(length=24), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("red_cell_score", sa.Double(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=False),
        sa.Column("touches_border", sa.Boolean(), nullable=False),
        sa.Column("overlaps", sa.Boolean(), nullable=False),
        sa.Column("measured", sa.Boolean(), nullable=False),
        sa.Column("area_px", sa.Double(), nullable=True),
        sa.Column("equivalent_diameter_px", sa.Double(), nullable=True),
        sa.Column("perimeter_px", sa.Double(), nullable=True),
        sa.Column("circularity", sa.Double(), nullable=True),
        sa.Column("eccentricity", sa.Double(), nullable=True),
        sa.Column("axis_ratio", sa.Double(), nullable=True),
        sa.Column("solidity", sa.Double(), nullable=True),
        sa.Column("pallor_index", sa.Double(), nullable=True),
        sa.Column("relative_density", sa.Double(), nullable=True),
        sa.Column("relative_diameter", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.analysis_id"], name="fk_cells_analysis_id_analyses"),
        sa.PrimaryKeyConstraint("analysis_id", "number", name="pk_cells"),
    )
    op.create_table(
        "reports",
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=1), nullable=False),
        sa.Column("red_cells", sa.Integer(), nullable=False),
        sa.Column("spherocytes", sa.Integer(), nullable=False),
        sa.Column("spherocyte_percent", sa.Double(), nullable=True),
        sa.Column("ci95_low", sa.Double(), nullable=True),
        sa.Column("ci95_high", sa.Double(), nullable=True),
        sa.Column("counted_fields", sa.Integer(), nullable=False),
        sa.Column("limitations", sa.Text(), nullable=False),
        sa.Column("bundle_name", sa.Text(), nullable=False),
        sa.Column("bundle_version", sa.Text(), nullable=False),
        sa.Column("bundle_sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_reports_case_id_cases"),
        sa.PrimaryKeyConstraint("report_id", name="pk_reports"),
        sa.UniqueConstraint("case_id", "revision", name="uq_reports_case_id_revision"),
    )
    op.create_table(
        "pictures",
        sa.Column("picture_id", sa.String(length=32), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("field_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stored_name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_pictures_case_id_cases"),
        sa.ForeignKeyConstraint(["field_id"], ["fields.field_id"], name="fk_pictures_field_id_fields"),
        sa.PrimaryKeyConstraint("picture_id", name="pk_pictures"),
        sa.UniqueConstraint("field_id", "kind", name="uq_pictures_field_id_kind"),
    )
    op.create_index("ix_pictures_case_id", "pictures", ["case_id"], unique=False)


def create_messages() -> None:
    """The outbox."""
    op.create_table(
        "messages",
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
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
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_messages_case_id_cases"),
        sa.PrimaryKeyConstraint("position", name="pk_messages"),
        sa.UniqueConstraint("case_id", "revision", "destination", name="uq_messages_case_id_revision_destination"),
        sa.UniqueConstraint("control_id", name="uq_messages_control_id"),
        sa.UniqueConstraint("message_id", name="uq_messages_message_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_messages_order",
        "messages",
        ["destination", "order_key", "position"],
        unique=False,
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_index(
        "ix_messages_queue",
        "messages",
        ["destination", "position"],
        unique=False,
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )


def create_audit() -> None:
    """The audit chain and its head, which begins before the first event."""
    op.create_table(
        "audit_events",
        sa.Column("sequence", NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_case_id", "audit_events", ["case_id"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("head_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("head_id", name="pk_audit_head"),
    )
    op.execute(
        sa.text("INSERT INTO audit_head (head_id, sequence, hash) VALUES (1, 0, :genesis)").bindparams(genesis="0" * 64)
    )
