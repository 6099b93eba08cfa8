"""What DICOM instances say of themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UIDS = {"study_uid": False, "series_uid": False, "frame_of_reference_uid": True, "specimen_uid": True}
TEXTS = (
    "modality", "accession", "accession_issuer", "container", "container_issuer", "specimen", "specimen_issuer", "patient_id",
    "patient_issuer", "family", "given", "birth_date", "sex", "acquired", "manufacturer", "model", "serial",
)  # fmt: skip
NUMBERS = ("row_spacing_mm", "column_spacing_mm", "um_per_pixel", "objective_power")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "instance_headers",
        sa.Column("instance_id", sa.String(length=36), nullable=False),
        *(sa.Column(name, sa.String(length=64), nullable=nullable) for name, nullable in UIDS.items()),
        *(sa.Column(name, sa.Text(), nullable=True) for name in TEXTS),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("rows", "columns", "frames", "specimens")),
        *(sa.Column(name, sa.Double(), nullable=True) for name in NUMBERS),
        sa.Column("pixel_aspect", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.instance_id"], name="fk_instance_headers_instance_id_instances"
        ),
        sa.PrimaryKeyConstraint("instance_id", name="pk_instance_headers"),
    )
    op.create_index("ix_instance_headers_study_uid", "instance_headers", ["study_uid"])
