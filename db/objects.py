"""DICOM objects that tell results: recorded with the report, queued like every message, and committed to by archives.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta

from sqlalchemy import Select, func, or_, select

from db.context import Context, canonical_json
from db.header_schema import InstanceHeader
from db.instance_schema import Instance
from db.lineage import LineageView, lineage_of
from db.object_schema import Commitment, ResultObject
from db.object_views import CommitmentView, NewObject, ObjectView, SourceInstance
from db.outbox import Outbox
from db.schema import Field, Message
from db.states import CommitmentState, InstanceState, MessageState

_TOLD = ("study_date", "study_time", "study_id", "frame_of_reference_uid")
MOST_ASKED = 5
"""So often an archive is asked whether it keeps an object before a person must look."""


class ResultObjects:
    """The objects within one transaction (`UnitOfWork.objects`)."""

    def __init__(self, context: Context, outbox: Outbox) -> None:
        self._context = context
        self._session = context.session
        self._outbox = outbox

    # ------------------------------------------------------------------------------------------------------------ queue
    def queue(self, case_id: str, revision: int, made: NewObject, destinations: Mapping[str, bool]) -> None:
        """Record an object and queue it at each archive; nothing happens where that was done before.

        Objects of a case reach an archive one after the other, but for label maps: few archives take these yet, and one
        that is refused is not to hold back the rest. The message's frozen body names the file and its hash, so that what leaves is what was made, byte for byte.

        Parameters
        ----------
        destinations : mapping of str to bool
            Each archive, and whether it is to confirm that it keeps the object.

        Raises
        ------
        NotFound
            There is no such case.
        """
        self._context.lock_case(case_id)
        known = self._session.get(ResultObject, made.sop_instance_uid)
        if known is None:
            row = ResultObject(case_id=case_id, revision=revision, created_at=self._context.clock(), **asdict(made))
            self._session.add(row)
            self._session.flush()
            self._context.audit(
                "object made",
                case_id,
                object=made.sop_instance_uid,
                kind=made.kind,
                sha256=made.sha256,
                revision=revision,
            )
        else:
            made, revision = _made(known), known.revision
        for destination, commits in destinations.items():
            message = self._outbox.enqueue(
                case_id,
                revision,
                destination,
                order_key=f"{case_id}/seg" if made.kind == "seg" else case_id,
                control_id=object_control_id(made, destination),
                body=canonical_json(asdict(made)).encode(),
                part=made.sop_instance_uid,
            )
            if commits and self._commitment(message.message_id) is None:
                self._session.add(
                    Commitment(
                        commitment_id=self._context.new_id(),
                        message_id=message.message_id,
                        destination=destination,
                        sop_instance_uid=made.sop_instance_uid,
                        state=CommitmentState.DUE,
                        requests=0,
                    )
                )
        self._session.flush()

    # ------------------------------------------------------------------------------------------------------------- read
    def of_case(self, case_id: str) -> tuple[ObjectView, ...]:
        """Return the objects of a case: by version, images first and the report last."""
        rows = self._session.scalars(select(ResultObject).where(ResultObject.case_id == case_id)).all()
        order = ("image", "seg", "ann", "sr", "ko")
        rows = sorted(rows, key=lambda row: (row.revision, order.index(row.kind), row.created_at, row.sop_instance_uid))
        return tuple(_view(row) for row in rows)

    def sources_of(self, case_id: str) -> dict[str, SourceInstance]:
        """Return the DICOM instance of each field that came in one, by the field's id."""
        per_file = (
            select(Field.sha256, func.count().label("frames"))
            .where(Field.case_id == case_id)
            .group_by(Field.sha256)
            .subquery()
        )
        query = (
            select(Field.field_id, Instance, InstanceHeader, per_file.c.frames)
            .join(per_file, per_file.c.sha256 == Field.sha256)
            .join(Instance, Instance.sha256 == Field.sha256)
            .outerjoin(InstanceHeader, InstanceHeader.instance_id == Instance.instance_id)
            .where(
                Field.case_id == case_id,
                Instance.state != InstanceState.CONFLICT,
                Instance.study_uid.is_not(None),
                Instance.series_uid.is_not(None),
            )
        )
        return {
            field_id: SourceInstance(
                row.sop_class_uid,
                row.sop_instance_uid,
                row.series_uid or "",
                row.study_uid or "",
                row.sha256,
                frames,
                **{name: getattr(header, name, None) or "" for name in _TOLD},
            )
            for field_id, row, header, frames in self._session.execute(query)
        }

    def lineage(self, case_id: str) -> tuple[LineageView, ...]:
        """Return each message of a case with what it tells, what that rests on, and the receiver's answer."""
        return tuple(lineage_of(self._session, case_id))

    def commitments_of(self, message_ids: Collection[str]) -> dict[str, CommitmentView]:
        """Return what archives said, by message."""
        query = _commitments().where(Commitment.message_id.in_(message_ids))
        return {view.message_id: view for view in self._views(query)}

    def stored_names(self) -> frozenset[str]:
        """Return the names of every object's file."""
        return frozenset(self._session.scalars(select(ResultObject.stored_name)))

    # ------------------------------------------------------------------------------------------------------- commitment
    def to_ask(self, destination: str, most: int) -> tuple[CommitmentView, ...]:
        """Return what an archive took and has not confirmed, where it is time to ask (again), in the order of the queue."""
        now = self._context.clock()
        query = (
            _commitments()
            .join(Message, Message.message_id == Commitment.message_id)
            .where(
                Commitment.destination == destination,
                Message.state == MessageState.DELIVERED,
                or_(
                    Commitment.state == CommitmentState.DUE,
                    (Commitment.state == CommitmentState.ASKED) & (Commitment.ask_again_at <= now),
                ),
            )
            .order_by(Message.position)
            .limit(most)
        )
        return self._views(query)

    def asked(self, message_ids: Sequence[str], transaction_uid: str, *, patience_seconds: float) -> None:
        """Record that an archive is about to be asked; what it was asked too often without an answer is parked.

        It is written before the question leaves, so that the answer finds its transaction, however fast it comes.
        """
        again = self._context.clock() + timedelta(seconds=patience_seconds)
        for message_id in message_ids:
            row = self._commitment(message_id)
            if row is None or row.state in (CommitmentState.COMMITTED, CommitmentState.FAILED):
                continue
            if row.requests >= MOST_ASKED:
                self._fail(row, f"the archive was asked {row.requests} times whether it keeps it, and did not answer")
                continue
            row.state, row.transaction_uid, row.ask_again_at = CommitmentState.ASKED, transaction_uid, again
            row.requests += 1

    def of_transaction(self, transaction_uid: str) -> tuple[tuple[str, str], ...]:
        """Return SOP class and instance UIDs of what one question is about."""
        query = _commitments().where(Commitment.transaction_uid == transaction_uid).order_by(Commitment.message_id)
        return tuple((view.sop_class_uid, view.sop_instance_uid) for view in self._views(query))

    def not_asked(self, transaction_uid: str, reason: str, *, at: datetime) -> None:
        """Record that the archive could not be asked; it is asked again at `at`, and this time does not count."""
        for row in self._of_transaction(transaction_uid):
            if row.state is CommitmentState.ASKED:
                row.requests = max(0, row.requests - 1)
                row.ask_again_at, row.reason = at, reason

    def answered(self, transaction_uid: str, committed: Collection[str], failed: Mapping[str, str]) -> int:
        """Record an archive's answer: SOP instance UIDs that it keeps, and those that it does not, with the reason.

        Returns
        -------
        int
            How many of our objects it was about; 0 for an answer to a question that we did not ask.
        """
        rows = self._of_transaction(transaction_uid)
        for row in rows:
            uid = row.sop_instance_uid
            if row.state in (CommitmentState.COMMITTED, CommitmentState.FAILED):
                continue
            if uid in failed:
                self._fail(row, f"the archive does not keep it: {failed[uid]}")
            elif uid in committed:
                self._settle(row, CommitmentState.COMMITTED, None)
        return len(rows)

    # ----------------------------------------------------------------------------------------------------------- inside
    def _fail(self, row: Commitment, reason: str) -> None:
        self._settle(row, CommitmentState.FAILED, reason)
        self._outbox.uncommitted(row.message_id, reason)

    def _settle(self, row: Commitment, state: CommitmentState, reason: str | None) -> None:
        row.state, row.reason, row.settled_at, row.ask_again_at = state, reason, self._context.clock(), None
        message = self._outbox.get(row.message_id)
        self._context.audit(
            f"commitment {state}",
            message.case_id,
            message=row.message_id,
            destination=row.destination,
            object=row.sop_instance_uid,
            transaction=row.transaction_uid,
            why=reason,
        )

    def _commitment(self, message_id: str) -> Commitment | None:
        query = select(Commitment).where(Commitment.message_id == message_id).with_for_update()
        return self._session.scalar(query.execution_options(populate_existing=True))

    def _of_transaction(self, transaction_uid: str) -> Sequence[Commitment]:
        query = select(Commitment).where(Commitment.transaction_uid == transaction_uid).order_by(Commitment.message_id)
        return self._session.scalars(query.with_for_update().execution_options(populate_existing=True)).all()

    def _views(self, query: Select[Commitment, ResultObject]) -> tuple[CommitmentView, ...]:
        return tuple(
            CommitmentView(
                message_id=row.message_id,
                destination=row.destination,
                sop_class_uid=made.sop_class_uid,
                sop_instance_uid=row.sop_instance_uid,
                state=row.state,
                transaction_uid=row.transaction_uid,
                requests=row.requests,
                reason=row.reason,
                settled_at=row.settled_at,
            )
            for row, made in self._session.execute(query)
        )


def object_control_id(made: NewObject, destination: str) -> str:
    """The name of the message that brings an object to a destination; the same whenever it is asked."""
    digest = hashlib.sha256(f"{made.sop_instance_uid}|{destination}".encode()).hexdigest()[:16].upper()
    return f"{made.kind.upper()}{digest}"


def _commitments() -> Select[Commitment, ResultObject]:
    return select(Commitment, ResultObject).join(
        ResultObject, ResultObject.sop_instance_uid == Commitment.sop_instance_uid
    )


def _made(row: ResultObject) -> NewObject:
    return NewObject(**{each.name: getattr(row, each.name) for each in fields(NewObject)})


def _view(row: ResultObject) -> ObjectView:
    return ObjectView(_made(row), row.case_id, row.revision, row.created_at)
