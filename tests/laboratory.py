"""A laboratory without its Prefect: a database, the work on cases, the review desk, and a LIS of another maker."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hl7

from db.session import Database
from db.states import MessageState
from db.views import CaseView, Identity
from flows.analyse import CaseResult, CaseWork
from flows.deliver import Sender
from flows.message_pictures import MessagePictures
from flows.message_reports import MessageReports
from flows.release import Release, ReleasePolicy
from flows.review_desk import ReviewDesk
from flows.transports import MllpTransport
from integrations.hl7.ack import AckPolicy
from integrations.hl7.mllp import Endpoint, MllpClient
from integrations.hl7.profile import Profile
from sphero_core.types import FieldFindings, Quality
from tests.database_examples import BUNDLE, ManualClock, accept, findings
from tests.running import ThirdPartyLis

PATIENT = Identity("26-1", patient_id="P1", patient_issuer="HOSP", family="Müller", given="Zoe")
BLURRED, GOOD = findings(), replace(findings(40), quality=Quality())


@dataclass
class Laboratory:
    """A database, the work on cases, and the way to a LIS of another maker."""

    database: Database
    clock: ManualClock
    lis: ThirdPartyLis
    profile: Profile
    files: dict[str, Path] = field(default_factory=dict)
    policy: ReleasePolicy = ReleasePolicy.PRELIMINARY
    reports: MessageReports | None = None

    def work(self) -> CaseWork:
        pictures = MessagePictures(file=self.files.__getitem__, url="http://sphero:8080")
        profiles = {"lis": self.profile}
        release = Release(
            database=self.database,
            profiles=profiles,
            pictures=pictures,
            clock=self.clock,
            policy=self.policy,
            reports=self.reports,
        )
        return CaseWork(database=self.database, store=Path(), release=release, pixel_aspect=1.0)

    def desk(self) -> ReviewDesk:
        pictures = MessagePictures(file=self.files.__getitem__, url="http://sphero:8080")
        return ReviewDesk(
            database=self.database,
            profiles={"lis": self.profile},
            pictures=pictures,
            clock=self.clock,
            reports=self.reports,
        )

    def report(self, case: CaseView) -> CaseResult:
        """Count a case and commit what leaves; it must leave."""
        result = self.work().report(case, "w")
        assert result is not None
        return result

    def analyse(self, fields: dict[str, FieldFindings | str]) -> CaseView:
        """Take fields in and give each its outcome: findings, or why it is refused."""
        with self.database.transaction("test") as work:
            accepted = {name: accept(work, "26-1", name) for name in fields}
            case_id = work.identities.find_or_create("26-1")
            assert work.identities.set(case_id, PATIENT)
            work.cases.complete(case_id)
            assert work.cases.claim(case_id, "w", 60)
            for name, outcome in fields.items():
                if isinstance(outcome, str):
                    work.fields.quarantine(accepted[name].field_id, outcome)
                else:
                    work.analyses.record(accepted[name].field_id, BUNDLE, outcome)
                    work.reports.add_picture(accepted[name].field_id, "overlay", f"{name}.jpg", "image/jpeg")
            return work.cases.get(case_id)

    def refuse_file(self, reason: str) -> None:
        with self.database.transaction("test") as work:
            work.fields.quarantine_file(reason, accession="26-1", size_bytes=1, reason=reason, stored_name=None)

    def deliver(self) -> list[Any]:
        """Send what waits; gives everything the LIS has received, parsed by python-hl7."""
        client = MllpClient(Endpoint("lis", "127.0.0.1", self.lis.port, 5, 5, 5))
        sender = Sender(
            name="lis",
            database=self.database,
            transport=MllpTransport(client, AckPolicy()),
            owner="test/sender",
            lease_seconds=30,
            clock=self.clock,
        )
        tried = sender.drain()
        sender.close()
        assert {message.state for message in tried} <= {MessageState.DELIVERED}
        return [hl7.parse(body.decode()) for body in self.lis.received]


def column(message: Any, segment: str, field: int) -> list[str]:
    return [str(row[field]) if len(row) > field else "" for row in message.segments(segment)]
