"""What the model found comes back as it was recorded; reports and pictures."""

from __future__ import annotations

import json
import math
import sys
import zlib
from dataclasses import asdict, replace

import numpy as np
import pytest
from sqlalchemy import text

from db import masks
from db.errors import ConstraintBroken, DamagedRecord
from db.measures import KEPT
from db.session import Database
from db.states import CaseState
from sphero_core.grading import ICSH_2015, GradingRule
from sphero_core.statistics import count_case
from sphero_core.types import BundleId, Cell, CellClass, FieldFindings, Quality
from tests.database_examples import BUNDLE, COUNTS, accept, findings, kept_measures, report, to_state

NO_MASK = np.zeros((1, 1), np.bool_)


def same_cell(one: Cell, other: Cell) -> bool:
    plain = [repr(replace(cell, mask=NO_MASK, measures=None)) for cell in (one, other)]
    if plain[0] != plain[1]:
        return False
    if (one.measures is None) != (other.measures is None) or not np.array_equal(one.mask, other.mask):
        return False
    if one.measures is None or other.measures is None:
        return True
    pairs = zip(asdict(one.measures).values(), asdict(other.measures).values(), strict=True)
    return all(left == right or (math.isnan(left) and math.isnan(right)) for left, right in pairs)


@pytest.mark.parametrize("cells", [0, 4, 300])
def test_findings_come_back_to_the_bit(database: Database, cells: int) -> None:
    recorded = findings(cells)
    with database.transaction("test") as work:
        accepted = accept(work)
        number = work.analyses.record(accepted.field_id, BUNDLE, recorded)
        assert work.analyses.record(accepted.field_id, BUNDLE, findings(1)) == number
    with database.reading() as work:
        [result] = work.analyses.results_of(accepted.case_id)
    found = result.findings
    assert (result.field.field_id, result.bundle, result.analysis_id) == (accepted.field_id, BUNDLE, number)
    assert replace(found, cells=()).__repr__() == replace(recorded, cells=()).__repr__()
    assert len(found.cells) == cells
    assert all(map(same_cell, found.cells, recorded.cells))
    assert all(cell.mask.dtype == np.bool_ for cell in found.cells)


def test_numbers_of_numpy_and_extreme_ones_are_kept(database: Database) -> None:
    extreme = [sys.float_info.max, 5e-324, math.inf, -math.inf, 0.0, 0.1, 1 / 3, math.nan, 1e-300, 2.0**53]
    measures = kept_measures((extreme + extreme)[: len(KEPT)])
    cell = Cell(
        CellClass.SPHEROCYTE,
        np.float32(0.1),  # type: ignore[arg-type]
        np.float64(1 / 3),
        np.int64(5),  # type: ignore[arg-type]
        0,
        np.ones((1, 1), np.bool_),
        np.bool_(True),  # type: ignore[arg-type]
        False,
        measures,
    )
    with database.transaction("test") as work:
        accepted = accept(work)
        work.analyses.record(accepted.field_id, BUNDLE, FieldFindings((cell,), 1, 1, math.nan, 1, 0.5))
    with database.reading() as work:
        [result] = work.analyses.results_of(accepted.case_id)
    [back] = result.findings.cells
    assert math.isnan(result.findings.cell_diameter_px)
    assert repr(back.measures) == repr(measures)
    assert (back.score, back.red_cell_score, back.x) == (float(np.float32(0.1)), 1 / 3, 5)
    assert back.touches_border is True


def test_the_latest_analysis_of_each_field_counts(database: Database) -> None:
    newer = BundleId("mrcnn", "2", "c" * 64)
    with database.transaction("test") as work:
        first, second = accept(work, name="one"), accept(work, name="two")
        work.analyses.record(first.field_id, BUNDLE, findings(1))
        work.analyses.record(second.field_id, BUNDLE, findings(2))
        work.analyses.record(first.field_id, newer, findings(3))
        results = work.analyses.results_of(first.case_id)
    assert [(result.bundle.version, len(result.findings.cells)) for result in results] == [("2", 3), ("1", 2)]


def test_a_report_comes_back_and_cannot_be_changed(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.ANALYSED)
        written = report(work, case_id)
    with database.reading() as work:
        [read] = work.reports.of_case(case_id)
    assert replace(read, new=True) == written
    assert (read.counts, read.bundle, json.loads(read.body)) == (COUNTS, BUNDLE, {"ü": [1, None]})
    for change in (
        "UPDATE reports SET red_cells = 11",
        "UPDATE reports SET body = '{}'",
        "UPDATE reports SET grade = '4+'",
        "UPDATE reports SET detected = TRUE",
        "UPDATE reports SET statistics = NULL",
        "DELETE FROM reports",
    ):
        with pytest.raises(ConstraintBroken), database.transaction("test") as work:
            work.reports._session.execute(text(change))


def test_grade_and_statistics_of_a_report_come_back(database: Database) -> None:
    fields = [replace(findings(30), quality=Quality()), findings(20)]
    counts = count_case(fields, um_per_pixel=0.1, rule=GradingRule(ICSH_2015, 0.85))
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.ANALYSED)
        work.reports.add(case_id, 1, owner="w", counts=counts, bundle=BUNDLE, body={})
    with database.reading() as work:
        [read] = work.reports.of_case(case_id)
    assert read.counts == counts
    assert read.counts.grading is not None
    assert read.counts.statistics is not None


def test_a_picture_keeps_its_random_id(database: Database) -> None:
    with database.transaction("test") as work:
        accepted = accept(work)
        first = work.reports.add_picture(accepted.field_id, "overlay", "a.png", "image/png")
        again = work.reports.add_picture(accepted.field_id, "overlay", "b.webp", "image/webp")
        other = work.reports.add_picture(accepted.field_id, "thumbnail", "c.png", "image/png")
    with database.reading() as work:
        assert work.reports.picture(first.picture_id) == again
        assert work.reports.pictures_of(accepted.case_id) == (again, other)
    assert first.picture_id == again.picture_id != other.picture_id
    assert again.stored_name == "b.webp"


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 1), (70, 71), (300, 280)])
def test_masks_are_packed_exactly(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(7)
    for share in (0.0, 0.5, 1.0):
        mask = random.random(shape) < share
        assert np.array_equal(masks.unpack(masks.pack(mask), *shape), mask)


def test_a_round_cell_takes_few_bytes() -> None:
    y, x = np.mgrid[-35:35, -35:35]
    assert len(masks.pack(x * x + y * y < 34 * 34)) < 200


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x02" + zlib.compress(bytes(2)),
        b"\x01" + zlib.compress(bytes(1)),
        b"\x01" + zlib.compress(bytes(3)),
        b"\x01" + zlib.compress(bytes(1 << 24)),
        b"\x01" + zlib.compress(bytes(2))[:-1],
        b"\x01garbage",
    ],
)
def test_an_altered_mask_is_told(packed: bytes) -> None:
    with pytest.raises(DamagedRecord):
        masks.unpack(packed, 4, 4)
