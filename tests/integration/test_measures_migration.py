"""Measures that earlier versions kept beside the cells move into their own table."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, Table, create_engine, insert

import db.migrations
from db import masks
from db.session import Database
from sphero_core.types import CellMeasures

BEFORE = "0016"
MOMENT = datetime(2026, 11, 25, 10, tzinfo=UTC)
ROWS: dict[str, dict[str, Any]] = {
    "cases": {
        "case_id": "case",
        "state": "open",
        "revision": 1,
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "last_arrival_at": MOMENT,
        "attempts": 0,
    },
    "stored_files": {
        "sha256": "a" * 64,
        "size_bytes": 1,
        "media_type": "image/png",
        "stored_name": "a.png",
        "first_seen_at": MOMENT,
    },
    "fields": {
        "field_id": "field",
        "case_id": "case",
        "number": 1,
        "sha256": "a" * 64,
        "frame": 0,
        "width": 640,
        "height": 480,
        "state": "analysed",
        "received_at": MOMENT,
    },
    "analyses": {
        "analysis_id": 1,
        "field_id": "field",
        "bundle_name": "mrcnn",
        "bundle_version": "1",
        "bundle_sha256": "b" * 64,
        "width": 640,
        "height": 480,
        "cell_diameter_px": 70.0,
        "passes": 1,
        "seconds": 0.5,
        "saturated": False,
        "quality_accepted": True,
        "quality_reasons": "[]",
        "at": MOMENT,
    },
}
CELL: dict[str, Any] = {
    "analysis_id": 1,
    "cell_class": "RBC",
    "score": 0.9,
    "red_cell_score": 0.95,
    "x": 1,
    "y": 2,
    "width": 3,
    "height": 3,
    "mask": masks.pack(np.ones((3, 3), np.bool_)),
    "touches_border": False,
    "overlaps": False,
}
MEASURES = {"measured": True, "area_px": 12.5, "pallor_index": -0.25, "relative_density": 0.3}


def add(connection: Connection, table: str, values: dict[str, Any]) -> None:
    connection.execute(insert(Table(table, MetaData(), autoload_with=connection)), values)


def test_measures_of_earlier_versions_move_into_their_own_table(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", next(iter(db.migrations.__path__)))
    engine = create_engine(database_url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
        for table, values in ROWS.items():
            add(connection, table, values)
        add(connection, "cells", {**CELL, "number": 0, **MEASURES})
        add(connection, "cells", {**CELL, "number": 1, "measured": False})
    engine.dispose()
    with Database(database_url) as database:
        database.upgrade()
        with database.reading() as work:
            [result] = work.analyses.results_of("case")
    first, second = result.findings.cells
    nan = math.nan
    expected = CellMeasures(12.5, nan, nan, nan, nan, nan, nan, -0.25, 0.3, nan, optical_density=0.3)
    assert repr(first.measures) == repr(expected)
    assert second.measures is None
