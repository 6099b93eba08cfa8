"""Measures of a case of 3,000 cells read back with a million cells kept: the table, beside a blob for each analysis and a Parquet file for each case."""

from __future__ import annotations

import io
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, LargeBinary, MetaData, Table, create_engine, insert, select, text
from sqlalchemy.schema import Column
from sqlalchemy.types import Integer

from db.analyses import _CELLS as CELLS
from db.measures import KEPT, TABLE, read_measures
from db.session import Database
from sphero_core.types import CellMeasures
from tests.bench.table import Row, side_by_side
from tests.integration.test_measures_migration import CELL
from tests.integration.test_measures_migration import ROWS as NEEDED
from tests.postgresql import PostgresqlServer, find_binaries

KEPT_CELLS, CASE_CELLS, FIELD_CELLS = 1_000_000, 3_000, 100
FIELDS = CASE_CELLS // FIELD_CELLS
ANALYSES = KEPT_CELLS // FIELD_CELLS
LIMIT_MS = 50.0
BLOBS = Table(
    "measure_blobs", MetaData(), Column("analysis_id", Integer, primary_key=True), Column("packed", LargeBinary)
)


def measure() -> list[Row]:
    """Fill a database of each kind and read one case in its middle; then the same case from a file."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rows += _compared("SQLite", f"sqlite:///{Path(folder) / 'sphero.db'}")
        parquet = _parquet(Path(folder) / "case.parquet")
    with PostgresqlServer(find_binaries(), settings={"shared_buffers": "128MB"}) as server:  # as it comes
        rows += _compared("PostgreSQL", server.create_database()[1])
    if parquet is not None:
        rows.append(Row("the same from SQLite", rows[0].value, "ms", "one Parquet file a case", parquet * 1e3))
    return rows


def _compared(name: str, url: str) -> list[Row]:
    with Database(url) as database:
        database.upgrade()
        engine = create_engine(url)
        with engine.begin() as connection:
            fill(connection)
        wanted = range(ANALYSES // 2, ANALYSES // 2 + FIELDS)
        with database.reading() as work, engine.connect() as connection:
            session = work.analyses._session
            (rows, blobs), (rows_cpu, blobs_cpu) = (
                side_by_side(
                    lambda: read_measures(session, wanted),
                    lambda: [from_blob(connection, analysis) for analysis in wanted],
                    rounds=15,
                    clock=clock,
                )
                for clock in (time.perf_counter, time.process_time)
            )
            held = sum(map(len, read_measures(session, wanted).values()))
        engine.dispose()
    assert held == CASE_CELLS
    what = f"read the measures of {CASE_CELLS:,} cells of {KEPT_CELLS:,} from {name}"
    return [
        Row(what, rows * 1e3, "ms", "limit", LIMIT_MS, 1.0),
        Row("the same from the table", rows * 1e3, "ms", "one packed blob an analysis", blobs * 1e3),
        Row("its processor time, ours alone", rows_cpu * 1e3, "ms", "one packed blob an analysis", blobs_cpu * 1e3),
    ]


def fill(connection: Connection) -> None:
    """A million cells with measures, and as many measures as blobs."""
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
    constants = {name: value for name, value in CELL.items() if name != "analysis_id"}
    _insert_each(connection, CELLS, {name: f":{name}" for name in constants}, constants)
    _insert_each(connection, TABLE, dict.fromkeys(KEPT, "random() * 1.0"), {})
    random = np.random.default_rng(1)
    packed = [
        {"analysis_id": analysis, "packed": zlib.compress(random.normal(size=(len(KEPT), FIELD_CELLS)).tobytes(), 2)}
        for analysis in range(ANALYSES)
    ]
    connection.execute(insert(BLOBS), packed)


def _insert_each(connection: Connection, table: Table, columns: dict[str, str], values: dict[str, Any]) -> None:
    """A row for each cell of each analysis, made by the database itself."""
    names = ", ".join(f'"{name}"' for name in columns)
    statement = (
        f"INSERT INTO {table.name} (analysis_id, number, {names}) "  # noqa: S608  # names of our own
        f"WITH RECURSIVE cell(number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM cell WHERE number < {FIELD_CELLS - 1}) "
        f"SELECT analysis_id, cell.number, {', '.join(columns.values())} FROM analyses CROSS JOIN cell ORDER BY 1, 2"
    )
    connection.execute(text(statement), values)


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
