"""Measures of a case of 3,000 cells read back with a million cells kept: the table, beside a blob for each analysis and a Parquet file for each case."""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, LargeBinary, MetaData, Table, create_engine, insert, select
from sqlalchemy.schema import Column
from sqlalchemy.types import Integer

from db.analyses import _CELLS as CELLS
from db.measures import KEPT, TABLE, read_measures
from db.session import Database
from sphero_core.types import CellMeasures
from tests.bench.table import Row, side_by_side
from tests.integration.test_measures_migration import CELL
from tests.integration.test_measures_migration import ROWS as NEEDED

KEPT_CELLS, CASE_CELLS, FIELD_CELLS = 1_000_000, 3_000, 100
FIELDS = CASE_CELLS // FIELD_CELLS
ANALYSES = KEPT_CELLS // FIELD_CELLS
LIMIT_MS = 50.0
BLOBS = Table(
    "measure_blobs", MetaData(), Column("analysis_id", Integer, primary_key=True), Column("packed", LargeBinary)
)
COLUMNS = ("analysis_id", "number", *KEPT)


def measure() -> list[Row]:
    """Fill a database and read one case in its middle."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sphero.db"
        with Database(f"sqlite:///{path}") as database:
            database.upgrade()
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            fill(connection)
        first = ANALYSES // 2
        with Database(f"sqlite:///{path}") as database, database.reading() as work, engine.connect() as connection:
            session = work.analyses._session
            wanted = range(first, first + FIELDS)
            rows, blobs = side_by_side(
                lambda: [read_measures(session, analysis) for analysis in wanted],
                lambda: [from_blob(connection, analysis) for analysis in wanted],
                rounds=15,
            )
            held = sum(len(read_measures(session, analysis)) for analysis in wanted)
        assert held == CASE_CELLS
        size = path.stat().st_size / 2**20
        case = Path(folder) / "case.parquet"
        parquet = _parquet(case)
        engine.dispose()
    what = f"read the measures of {CASE_CELLS:,} cells of {KEPT_CELLS:,} (database of {size:,.0f} MiB)"
    compared = [
        Row(what, rows * 1e3, "ms", "limit", LIMIT_MS, 1.0),
        Row("the same from the table", rows * 1e3, "ms", "one packed blob an analysis", blobs * 1e3),
    ]
    if parquet is not None:
        compared.append(Row("the same from the table", rows * 1e3, "ms", "one Parquet file a case", parquet * 1e3))
    return compared


def fill(connection: Connection) -> None:
    """A million cells with measures, and the same measures as blobs."""
    metadata = MetaData()
    BLOBS.create(connection)
    for name, values in NEEDED.items():
        if name != "analyses":
            connection.execute(insert(Table(name, metadata, autoload_with=connection)), values)
    analyses = Table("analyses", metadata, autoload_with=connection)
    each = [
        {**NEEDED["analyses"], "analysis_id": number, "bundle_sha256": f"{number:064x}"} for number in range(ANALYSES)
    ]
    connection.execute(insert(analyses), each)
    random = np.random.default_rng(1)
    for start in range(0, ANALYSES, 100):
        numbers = range(start, start + 100)
        connection.execute(
            insert(CELLS), [{**CELL, "analysis_id": a, "number": n} for a in numbers for n in range(FIELD_CELLS)]
        )
        for analysis in numbers:
            measured = random.normal(size=(FIELD_CELLS, len(KEPT)))
            connection.execute(insert(TABLE), list(_rows(analysis, measured)))
            packed = zlib.compress(measured.T.tobytes(), level=2)
            connection.execute(insert(BLOBS), {"analysis_id": analysis, "packed": packed})


def _rows(analysis: int, values: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    for number, measured in enumerate(values.tolist()):
        yield dict(zip(COLUMNS, (analysis, number, *measured), strict=True))


def from_blob(connection: Connection, analysis: int) -> list[CellMeasures]:
    """The measures of an analysis from its blob."""
    packed: bytes = connection.execute(select(BLOBS.c.packed).where(BLOBS.c.analysis_id == analysis)).scalar_one()
    values = np.frombuffer(zlib.decompress(packed)).reshape(len(KEPT), -1)
    return _values(values.T)


def _values(rows: NDArray[np.float64]) -> list[CellMeasures]:
    nan = float("nan")
    return [
        CellMeasures(**dict(zip(KEPT, row, strict=True)), relative_density=nan, relative_diameter=nan)
        for row in rows.tolist()
    ]


def _parquet(path: Path) -> float | None:
    """Seconds to read a case from a Parquet file; None where pyarrow, which the service does not need, is missing."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError:
        return None
    values = np.random.default_rng(1).normal(size=(CASE_CELLS, len(KEPT)))
    pq.write_table(pa.table({name: values[:, place] for place, name in enumerate(KEPT)}), path)

    def read() -> list[CellMeasures]:
        table = pq.read_table(io.BytesIO(path.read_bytes()))
        return _values(np.column_stack([table[name].to_numpy() for name in KEPT]))

    return side_by_side(read, read, rounds=15)[0]
