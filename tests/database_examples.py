"""Cases for the database tests: short ways to what most of them begin with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from db.measures import KEPT
from db.session import Database, UnitOfWork
from db.states import CaseState
from db.views import Accepted, MessageView, ReportView
from sphero_core.types import BundleId, CaseCounts, Cell, CellClass, CellMeasures, FieldFindings, Quality

BUNDLE = BundleId("mrcnn", "1", "b" * 64)
COUNTS = CaseCounts(10, 1, 10.0, (0.5, 40.4), 1, ("below 1,000 red cells",))


class ManualClock:
    """A clock that stands until it is moved on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 29, 0, 59, 59, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def accept(work: UnitOfWork, accession: str = "26-1", name: str = "one", frame: int = 0) -> Accepted:
    """Accept the field whose bytes are called `name`."""
    return work.fields.accept(
        f"{accession}/{name}",
        accession=accession,
        sha256=digest(name),
        frame=frame,
        size_bytes=1000,
        media_type="image/png",
        width=640,
        height=480,
        stored_name=f"{digest(name)}.png",
    )


def kept_measures(values: Sequence[float]) -> CellMeasures:
    """Measures as they are kept, before they are related to a case."""
    kept = dict(zip(KEPT, values, strict=True))
    return CellMeasures(**kept, relative_density=kept["optical_density"], relative_diameter=float("nan"))


def findings(cells: int = 3, seed: int = 1) -> FieldFindings:
    """Findings with random masks, measures of every kind of number, and one cell without measures."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(cells):
        mask = random.random((int(random.integers(1, 90)), int(random.integers(1, 90)))) < 0.7
        measures = kept_measures([float("nan"), *random.normal(size=len(KEPT) - 1).tolist()]) if number else None
        kind = list(CellClass)[number % len(CellClass)]
        made.append(Cell(kind, float(random.random()), 0.1, number, 7, mask, number == 1, number == 2, measures))
    return FieldFindings(tuple(made), 640, 480, 71.5, 2, 0.25, True, Quality(False, ("blurred", "thin — end")))


def to_state(work: UnitOfWork, state: CaseState, accession: str = "26-1", name: str = "one") -> str:
    """Bring a new case into a state (not held) and return its id."""
    accepted = accept(work, accession, name)
    case_id = accepted.case_id
    if state is CaseState.REJECTED:
        work.cases.reject(case_id, "wrong folder")
    if state in (CaseState.COMPLETE, CaseState.ANALYSED, CaseState.REPORTED):
        work.cases.complete(case_id)
    if state in (CaseState.ANALYSED, CaseState.REPORTED):
        assert work.cases.claim(case_id, "w", 60)
        work.analyses.record(accepted.field_id, BUNDLE, findings())
        work.cases.analysed(case_id, owner="w")
    if state is CaseState.REPORTED:
        report(work, case_id)
    assert work.cases.get(case_id).state is state
    return case_id


def report(work: UnitOfWork, case_id: str, revision: int = 1, owner: str = "w") -> ReportView:
    return work.reports.add(case_id, revision, owner=owner, counts=COUNTS, bundle=BUNDLE, body={"ü": [1, None]})


def enqueue(work: UnitOfWork, case_id: str, revision: int = 1, destination: str = "LIS") -> MessageView:
    return work.outbox.enqueue(
        case_id,
        revision,
        destination,
        order_key=case_id,
        control_id=f"{case_id[-12:]}{revision}{destination}",
        body=f"MSH|{case_id}|{revision}\r".encode(),
    )


def queued_cases(database: Database, cases: int, revisions: int = 1) -> list[str]:
    """Begin cases and queue messages for each, the revisions of all cases interleaved."""
    with database.transaction("test") as work:
        ids = [accept(work, f"26-{number}", f"field {number}").case_id for number in range(cases)]
        for revision in range(1, revisions + 1):
            for case_id in ids:
                enqueue(work, case_id, revision)
    return ids
