"""What is done in a database that came back from a backup, before anything of it may leave again.

What was sent after the backup is not known here. A message that waits in the backup may have left since; a case that was
not done may have been reported, and even signed. So nothing leaves by itself: messages are parked, cases are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from db.context import Context
from db.instance_schema import Instance
from db.object_schema import ResultObject
from db.outbox import Outbox
from db.review_schema import ReportFileRow
from db.schema import Case, Message, StoredFile
from db.states import DONE_MESSAGES, CaseState, HoldReason, MessageState
from db.views import AuditHead

REASON = "restored from a backup: it may have been sent after the backup was taken"
UNDONE = (CaseState.OPEN, CaseState.COMPLETE, CaseState.ANALYSED)


@dataclass(frozen=True, slots=True)
class Precautions:
    """How many messages were parked and cases held."""

    messages: int
    cases: int


class Restoration(Outbox):
    """The precautions within one transaction (`UnitOfWork.restoration`)."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)

    def contents_of_rows(self) -> frozenset[str]:
        """Return the SHA-256 of every file that a row says is kept: originals, objects that we made, reports for people."""
        columns = (StoredFile.sha256, Instance.sha256, ResultObject.sha256, ReportFileRow.sha256)
        return frozenset(sha256 for column in columns for sha256 in self._session.scalars(select(column).distinct()))

    def stop_everything(self, *, taken_at: datetime, head: AuditHead) -> Precautions:
        """Park every message that would leave by itself, hold every case that would be reported by itself; audited.

        Parameters
        ----------
        taken_at : datetime
            When the backup was taken.
        head : AuditHead
            End of its audit chain.
        """
        waiting = Message.state.not_in({*DONE_MESSAGES, MessageState.PARKED})
        messages = self._session.scalars(select(Message.message_id).where(waiting).order_by(Message.position)).all()
        for message_id in messages:
            self._move(self._lock(message_id), MessageState.PARKED, reason=REASON)
        cases = self._session.scalars(select(Case.case_id).where(Case.state.in_(UNDONE)).order_by(Case.case_id)).all()
        for case_id in cases:
            self._context.hold_case(self._context.lock_case(case_id), HoldReason.RESTORED)
        self._context.audit(
            "database restored",
            None,
            taken_at=taken_at.isoformat(),
            last_event=head.sequence,
            last_hash=head.hash,
            messages_parked=len(messages),
            cases_held=len(cases),
        )
        return Precautions(len(messages), len(cases))
