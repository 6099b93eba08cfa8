"""Where a result comes from and what became of it: from the source's hash to the receiver's answer, in one query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from db.instance_schema import Instance
from db.object_schema import Commitment, ResultObject
from db.schema import Field, Message, Report
from db.states import CommitmentState, FieldState, InstanceState, MessageState


@dataclass(frozen=True, slots=True)
class SourceView:
    """A field that a message rests on.

    Attributes
    ----------
    field : int
        Its number.
    sop_instance_uid : str or None
        Of the DICOM instance that it came in; None where that was a plain image.
    frame : int
        Of its file, from 0.
    sha256 : str
        Of its file.
    """

    field: int
    sop_instance_uid: str | None
    frame: int
    sha256: str


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
    sources : tuple of SourceView
        The field that it tells of; for what tells of the whole case every field that was analysed by then.
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
    bundle_sha256: str
    commitment: CommitmentState | None
    sources: tuple[SourceView, ...]


def lineage_of(session: Session, case_id: str) -> Iterator[LineageView]:
    """Give each message of a case, in the order in which they were queued."""
    told = (
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
        Report.bundle_sha256,
        Commitment.state,
    )
    of_the_case = and_(
        ResultObject.field_id.is_(None),
        Field.case_id == Message.case_id,
        Field.state == FieldState.ANALYSED,
        Field.received_at <= Report.created_at,
    )
    query = (
        select(Message.message_id, *told, Field.number, Instance.sop_instance_uid, Field.frame, Field.sha256)
        .select_from(Message)
        .join(Report, and_(Report.case_id == Message.case_id, Report.revision == Message.revision))
        .outerjoin(ResultObject, ResultObject.sop_instance_uid == Message.part)
        .outerjoin(Field, or_(Field.field_id == ResultObject.field_id, of_the_case))
        .outerjoin(Instance, and_(Instance.sha256 == Field.sha256, Instance.state != InstanceState.CONFLICT))
        .outerjoin(Commitment, Commitment.message_id == Message.message_id)
        .where(Message.case_id == case_id)
        .order_by(Message.position, Field.number)
    )
    for _, rows in groupby(session.execute(query), key=lambda row: row[0]):
        of_message = [tuple(row)[1:] for row in rows]
        sources = tuple(SourceView(*row[len(told) :]) for row in of_message if row[len(told)] is not None)
        yield LineageView(*(*of_message[0][: len(told)], sources))
