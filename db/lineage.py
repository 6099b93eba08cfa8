"""Where a result comes from and what became of it: from the source's hash to the receiver's answer, in one query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from db.instance_schema import Instance
from db.object_schema import Commitment, ResultObject
from db.schema import Field, Message, Report
from db.states import CommitmentState, InstanceState, MessageState


@dataclass(frozen=True, slots=True)
class LineageView:
    """One message of a case, with what it tells and what that rests on.

    Attributes
    ----------
    control_id : str
        MSH-10 of an HL7 message; our name of a message that brings a DICOM object.
    kind : str or None
        Of the DICOM object; None for an HL7 message, which tells of the whole case.
    result_uid, result_sha256, replaces : str or None
        SOP instance UID and hash of the DICOM object, and the UID of the one that it takes the place of.
    field_number : int or None
        The field that it tells of; None for what tells of the whole case.
    source_uid, source_sha256 : str or None
        SOP instance UID of the field's source, None where that was a plain image; hash of its file.
    bundle_sha256 : str
        Of the model that counted; empty where none did.
    answer : str or None
        MSA-1, or the status of the store.
    commitment : CommitmentState or None
        None where no confirmation is asked for.
    """

    revision: int
    report_status: str
    destination: str
    control_id: str
    state: MessageState
    answer: str | None
    delivered_at: datetime | None
    kind: str | None
    result_uid: str | None
    result_sha256: str | None
    replaces: str | None
    field_number: int | None
    source_uid: str | None
    source_sha256: str | None
    bundle_sha256: str
    commitment: CommitmentState | None


def lineage_of(session: Session, case_id: str) -> Iterator[LineageView]:
    """Give each message of a case, in the order in which they were queued."""
    query = (
        select(
            Message.revision,
            Report.status,
            Message.destination,
            Message.control_id,
            Message.state,
            Message.ack_code,
            Message.delivered_at,
            ResultObject.kind,
            ResultObject.sop_instance_uid,
            ResultObject.sha256,
            ResultObject.replaces,
            Field.number,
            Instance.sop_instance_uid,
            Field.sha256,
            Report.bundle_sha256,
            Commitment.state,
        )
        .select_from(Message)
        .join(Report, and_(Report.case_id == Message.case_id, Report.revision == Message.revision))
        .outerjoin(ResultObject, ResultObject.sop_instance_uid == Message.part)
        .outerjoin(Field, Field.field_id == ResultObject.field_id)
        .outerjoin(Instance, and_(Instance.sha256 == Field.sha256, Instance.state != InstanceState.CONFLICT))
        .outerjoin(Commitment, Commitment.message_id == Message.message_id)
        .where(Message.case_id == case_id)
        .order_by(Message.position)
    )
    return (LineageView(*tuple(row)) for row in session.execute(query))
