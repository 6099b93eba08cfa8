"""Whatever the program and people do to a case, in whatever order: what left is legal, and final only by a person's hand."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import pairwise

import pytest

from db.cases import WORK
from db.errors import IllegalMove, NotFound
from db.people import Actor
from db.release_moves import RELEASE_MOVES, Act, standing_of
from db.session import Database
from db.states import CaseState, HoldReason, ReportStatus
from flows.errors import ReviewRefused
from flows.release import ReleasePolicy
from integrations.hl7.profile import Profile
from sphero_core.types import CellClass, FieldFindings
from tests.database_examples import ManualClock
from tests.laboratory import BLURRED, GOOD, Laboratory
from tests.running import ThirdPartyLis

ANNA = Actor("apruefer")
STEPS = 25
SIGNED = {ReportStatus.FINAL, ReportStatus.CORRECTED}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Walk:
    """One case under a random hand."""

    def __init__(self, laboratory: Laboratory, seed: int) -> None:
        self.laboratory = laboratory
        self.random = random.Random(seed)
        self.fields = 0
        self.case_id = ""
        self.arrive()

    def arrive(self) -> None:
        """A field comes, and the service does what it does."""
        self.fields += 1
        outcomes: list[FieldFindings | str] = [GOOD, GOOD, BLURRED, "the file is damaged"]
        outcome = self.random.choice(outcomes)
        with self.laboratory.database.reading() as work:
            if self.case_id and work.cases.get(self.case_id).state in (CaseState.REJECTED, CaseState.HELD):
                return
        case = self.laboratory.analyse({f"field {self.fields}": outcome})
        self.case_id = self.case_id or case.case_id
        self.laboratory.work().report(case, "w")

    def sign(self) -> None:
        words = self.random.choice(["", "", "Seen.", "Seen again."])
        self.laboratory.desk().sign(self.case_id, ANNA, comment=words)

    def relabel(self) -> None:
        field, cell = self.random.randint(1, self.fields), self.random.randint(1, 40)
        self.laboratory.desk().relabel(self.case_id, field, cell, self.random.choice(list(CellClass)), ANNA)

    def reject(self) -> None:
        self.laboratory.desk().reject(self.case_id, ANNA, "too thick")

    def withdraw(self) -> None:
        self.laboratory.desk().withdraw(self.case_id, ANNA, "tubes swapped")

    def hold_or_release(self) -> None:
        with self.laboratory.database.transaction("test") as work:
            if work.cases.get(self.case_id).state is CaseState.HELD:
                work.cases.release(self.case_id)
            else:
                work.cases.hold(self.case_id, HoldReason.FAILED_QUALITY)

    def go_on(self) -> None:
        """The service takes up what it would take up by itself."""
        with self.laboratory.database.transaction("test") as work:
            due = [case.case_id for case in work.cases.unfinished(self.laboratory.work().due & WORK)]
            if self.case_id not in due or not work.cases.claim(self.case_id, "w", 60):
                return
            case = work.cases.get(self.case_id)
        self.laboratory.work().report(case, "w")

    def step(self) -> None:
        acts = [self.arrive, self.sign, self.sign, self.relabel, self.hold_or_release, self.go_on]
        rare = [self.reject, self.withdraw]
        chosen = self.random.choice(rare if self.random.random() < 0.06 else acts)
        with suppress(IllegalMove, ReviewRefused, NotFound):
            chosen()
        self.laboratory.clock.advance(self.random.choice([0, 0, 1, 60]))

    def check(self) -> None:
        with self.laboratory.database.reading() as work:
            reports = work.reports.of_case(self.case_id)
            messages = work.outbox.of_case(self.case_id)
        statuses = [report.status for report in reports]
        for number, report in enumerate(reports):
            before = standing_of(statuses[:number])
            acts = [act for act in Act if RELEASE_MOVES.get((before, act)) == report.status]
            assert acts, f"nothing leads from {before} to {report.status}"
            if report.status in SIGNED:
                assert report.act is not None
                assert report.act.act is Act.SIGN
        assert all(later.created_at > earlier.created_at for earlier, later in pairwise(reports))
        assert [message.revision for message in messages] == [report.revision for report in reports]
        assert len({message.control_id for message in messages}) == len(messages)


@pytest.mark.parametrize("policy", [ReleasePolicy.PRELIMINARY, ReleasePolicy.HOLD])
@pytest.mark.parametrize("seed", range(2))
def test_random_walks(database: Database, clock: ManualClock, policy: ReleasePolicy, seed: int) -> None:
    laboratory = Laboratory(database, clock, ThirdPartyLis(0), Profile(), policy=policy)
    walk = Walk(laboratory, seed)
    for _ in range(STEPS):
        walk.step()
        walk.check()
    with database.reading() as work:
        assert work.audit.verify().intact
