"""Measures of cells in a table of their own, and more of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Columns that `cells` had, and what they are called by now; the relative density that was kept was the density itself.
MOVED = {
    "area_px": "area_px",
    "equivalent_diameter_px": "equivalent_diameter_px",
    "perimeter_px": "perimeter_px",
    "circularity": "circularity",
    "eccentricity": "eccentricity",
    "axis_ratio": "axis_ratio",
    "solidity": "solidity",
    "pallor_index": "pallor_index",
    "relative_density": "optical_density",
}
COLUMNS = (
    "area_px",
    "equivalent_diameter_px",
    "perimeter_px",
    "circularity",
    "eccentricity",
    "axis_ratio",
    "solidity",
    "convexity",
    "pallor_index",
    "pallor_area_share",
    "optical_density",
    "density_deviation",
    "texture_contrast",
    "mean_red",
    "mean_green",
    "mean_blue",
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "cell_measures",
        sa.Column("analysis_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name in COLUMNS),
        sa.ForeignKeyConstraint(
            ["analysis_id", "number"], ["cells.analysis_id", "cells.number"], name="fk_cell_measures_analysis_id_cells"
        ),
        sa.PrimaryKeyConstraint("analysis_id", "number", name="pk_cell_measures"),
        sqlite_with_rowid=False,
    )
    into, taken = ", ".join(MOVED.values()), ", ".join(MOVED)
    op.execute(
        f"INSERT INTO cell_measures (analysis_id, number, {into}) SELECT analysis_id, number, {taken} "  # noqa: S608  # our own names
        "FROM cells WHERE measured"
    )
    for column in (*MOVED, "relative_diameter", "measured"):
        op.drop_column("cells", column)
