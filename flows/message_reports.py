"""The report for people that goes with messages: made before the version is recorded, frozen with it, the same file that people get."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from db.context import canonical_json
from db.errors import CaseChanged
from db.review_views import ReportAct
from db.session import UnitOfWork
from db.states import ReportStatus
from db.views import Identity, ReportView
from flows.outcome import Material, Outcome
from flows.report_desk import ReportDesk
from integrations.hl7.profile import Profile, ReportChoice, SendPictures
from integrations.hl7.result import Document

log = logging.getLogger(__name__)

NOT_MADE = "The report for people could not be made."


@dataclass(frozen=True, slots=True)
class Attached:
    """The report of a version that is about to be recorded, and what each destination gets of it.

    Attributes
    ----------
    draft : ReportView or None
        The version as it was laid out; None where no destination takes reports.
    identity : Identity or None
        Whose it is, as it says.
    files : mapping of str to bytes
        By kind.
    documents : mapping of str to Document
        By destination.
    """

    draft: ReportView | None = None
    identity: Identity | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    documents: Mapping[str, Document] = field(default_factory=dict, repr=False)


NOTHING = Attached()


def draft_of(
    case_id: str,
    revision: int,
    status: ReportStatus,
    made: datetime,
    outcome: Outcome,
    act: ReportAct | None = None,
) -> ReportView:
    """A version as it will be recorded, but for its id."""
    return ReportView(
        report_id="",
        case_id=case_id,
        revision=revision,
        status=status,
        counts=outcome.counts,
        bundle=outcome.bundle,
        body=canonical_json(outcome.body),
        created_at=made,
        act=act,
    )


class MessageReports:
    """Makes the reports that go with messages; for any number of threads.

    Parameters
    ----------
    desk : ReportDesk
    url : str
        Where our HTTP port serves them, where a profile says nothing else.
    """

    def __init__(self, desk: ReportDesk, url: str) -> None:
        self._desk = desk
        self._url = url

    def prepare(
        self,
        profiles: Mapping[str, Profile],
        draft: ReportView,
        earlier: Sequence[ReportView],
        identity: Identity,
        material: Material,
    ) -> Attached:
        """Lay out the report of a version; not within a transaction, for it takes about a second.

        A result never waits for it: where it cannot be made, the messages say so.

        Parameters
        ----------
        profiles : mapping of str to Profile
            By destination.
        draft : ReportView
            The version as it will be recorded, but for its id.
        earlier : sequence of ReportView
            The versions before it.
        """
        wanted = {name: each.report for name, each in profiles.items() if each.report.send is not SendPictures.NONE}
        if not wanted:
            return NOTHING
        try:
            files = self._desk.render(draft, (*earlier, draft), identity, material)
        except (OSError, RuntimeError) as error:
            log.warning("a report is left out of messages (%s)", type(error).__name__, extra={"case": draft.case_id})
            return Attached(draft, identity, {}, dict.fromkeys(wanted, Document(note=NOT_MADE)))
        return Attached(
            draft, identity, files, {name: self._document(files["pdf"], each) for name, each in wanted.items()}
        )

    def keep(self, work: UnitOfWork, report: ReportView, attached: Attached) -> None:
        """Record the files of a version with it, in the transaction that records it.

        Raises
        ------
        CaseChanged
            The version that was recorded is not the one that was laid out.
        StoreError
        """
        draft = attached.draft
        if draft is None:
            return
        laid_out = (draft.revision, draft.status, draft.created_at, draft.body, attached.identity)
        identity = work.identities.get(report.case_id)
        if laid_out != (report.revision, report.status, report.created_at, report.body, identity):
            raise CaseChanged("the case changed while its report was made")
        self._desk.keep_within(work, report.report_id, attached.files)

    def _document(self, pdf: bytes, choice: ReportChoice) -> Document:
        if choice.send is SendPictures.POINTER:
            name = f"{hashlib.sha256(pdf).hexdigest()}.pdf"
            return Document(url=f"{(choice.url or self._url).rstrip('/')}/reports/{name}")
        if len(pdf) > choice.max_bytes:
            return Document(
                note=f"The report for people has {len(pdf)} bytes, more than this receiver takes, and is left out."
            )
        return Document(pdf=pdf)
