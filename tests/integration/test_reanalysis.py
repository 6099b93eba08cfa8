"""A case analysed anew with another model: the earlier analysis stays, and a new version follows the usual way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from db.people import Actor
from db.session import Database
from db.states import CaseState
from db.views import CaseView
from flows.errors import ReviewRefused
from flows.reanalysis import Reanalysed, reanalyse
from integrations.hl7.profile import Profile
from sphero_core.bundle import InputSpec, Thresholds
from sphero_core.detector import Candidates, Detector
from sphero_core.types import BundleId, CellClass
from tests.database_examples import BUNDLE, ManualClock, digest
from tests.laboratory import GOOD, Laboratory
from tests.running import ThirdPartyLis
from tests.support import free_port

ANNA = Actor("apruefer")
OTHER = BundleId("other", "2", "c" * 64)
NOTHING_SEEN = Candidates(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), np.zeros((0, 28, 28), np.float32))

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def laboratory(database: Database, clock: ManualClock) -> Iterator[Laboratory]:
    with ThirdPartyLis(free_port()) as lis:
        yield Laboratory(database, clock, lis, Profile())


def reported(laboratory: Laboratory, store: Path) -> CaseView:
    pixels = np.full((480, 640, 3), 220, np.uint8)
    for x in range(60, 600, 90):
        cv2.circle(pixels, (x, 200), 30, (120, 120, 160), -1)
    cv2.imwrite(str(store / f"{digest('one')}.png"), pixels)
    cells = tuple(replace(cell, cell_class=CellClass.SPHEROCYTE, touches_border=False) for cell in GOOD.cells[:9])
    case = laboratory.analyse({"one": replace(GOOD, cells=cells)})
    laboratory.report(case)
    return case


def anew(laboratory: Laboratory, store: Path, case: CaseView, bundle: BundleId = OTHER) -> Reanalysed:
    """With a network that sees nothing."""
    detector = Detector(lambda _image: NOTHING_SEEN, InputSpec(384, 512, 60.0), Thresholds(0.5, 0.5, 0.5, 0.5))
    return reanalyse(laboratory.database, store, case.case_id, store, ANNA, load=lambda _folder: (detector, bundle))


def as_service_goes_on(laboratory: Laboratory, case: CaseView) -> CaseView:
    with laboratory.database.transaction("test") as work:
        assert work.cases.unfinished(laboratory.work().due) != ()
        assert work.cases.claim(case.case_id, "w", 60)
        return work.cases.get(case.case_id)


def test_the_earlier_analysis_stays_and_a_new_version_counts_the_new_one(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    case = reported(laboratory, tmp_path)
    laboratory.desk().relabel(case.case_id, 1, 1, CellClass.RBC, ANNA)
    done = anew(laboratory, tmp_path, case)
    assert done == Reanalysed(OTHER, fields=1, relabelled=1)
    again = as_service_goes_on(laboratory, case)
    assert (again.state, again.revision) == (CaseState.COMPLETE, 2)
    report = laboratory.report(again).report
    assert (report.bundle, report.counts.red_cells, report.status) == (OTHER, 0, "P")
    with laboratory.database.reading() as work:
        assert work.analyses.bundles_of(case.case_id) == {BUNDLE.sha256, OTHER.sha256}
        first, second = work.reports.of_case(case.case_id)
        assert (first.counts.spherocytes, second.counts.spherocytes) == (9, 0)
    with pytest.raises(ReviewRefused, match="with the bundle other before"):
        anew(laboratory, tmp_path, case)


def test_after_a_signature_it_waits_for_a_person(laboratory: Laboratory, tmp_path: Path) -> None:
    case = reported(laboratory, tmp_path)
    laboratory.desk().sign(case.case_id, ANNA)
    anew(laboratory, tmp_path, case)
    again = as_service_goes_on(laboratory, case)
    assert laboratory.work().report(again, "w") is None
    assert laboratory.desk().sign(case.case_id, ANNA).status == "C"


def test_what_cannot_be_read_any_more_changes_nothing(laboratory: Laboratory, tmp_path: Path) -> None:
    case = reported(laboratory, tmp_path)
    (tmp_path / f"{digest('one')}.png").write_bytes(b"damaged")
    with pytest.raises(ReviewRefused, match="field 1 cannot be read any more"):
        anew(laboratory, tmp_path, case)
    with laboratory.database.reading() as work:
        assert work.cases.get(case.case_id).state is CaseState.REPORTED
        assert work.analyses.bundles_of(case.case_id) == {BUNDLE.sha256}
