"""Which originals, cells and reports for people a policy may take away, and that it was done. Never audit, results or messages.

Only what is closed is touched: a case that a person signed or rejected, or whose final result is out, without a hold, a
lease or a message on its way. The decision is committed, and audited, before anything goes, so that a killed run goes on
where it was and nobody takes for lost what was removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select
from sqlalchemy.orm import aliased

from db.context import Context
from db.instance_schema import Instance
from db.measure_schema import CellMeasuresRow
from db.pledge_schema import PledgeItem
from db.removal_schema import RemovalRow
from db.review_schema import CellReviewRow, ReportFileRow
from db.schema import Analysis, Case, CaseHold, CellRow, Field, Message, Picture, Report, StoredFile
from db.states import DONE_MESSAGES, CaseState, Removable, ReportStatus

CLOSED = (CaseState.SIGNED, CaseState.REJECTED)
PRELIMINARY = ReportStatus.PRELIMINARY.value


@dataclass(frozen=True, slots=True)
class RemovableFile:
    """One content that may go; `stored_name` is its name in the store, `frames` how many decoded frames lie beside it."""

    stored_name: str
    frames: int


class Retention:
    """What a policy takes away, within one transaction (`UnitOfWork.retention`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def due(self, kind: Removable, days: int, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return ids of cases of which something of this kind is due, those that were begun included, in order.

        Parameters
        ----------
        days : int
            Since the last change of the case.
        after : str
            Only ids beyond this one.
        """
        removal = and_(RemovalRow.case_id == Case.case_id, RemovalRow.kind == kind)
        begun = exists().where(removal, RemovalRow.done_at.is_(None))
        fresh = and_(~exists().where(removal), *self._closed(kind, days))
        query = select(Case.case_id).where(Case.case_id > after, or_(begun, fresh)).order_by(Case.case_id).limit(limit)
        return tuple(self._session.scalars(query))

    def begin(self, case_id: str, kind: Removable, days: int) -> bool:
        """Decide that something goes, and audit it; False where the case is not closed any more."""
        case = self._context.lock_case(case_id)
        if self._session.get(RemovalRow, (case_id, kind)) is not None:
            return True
        closed = select(Case.case_id).where(Case.case_id == case.case_id, *self._closed(kind, days))
        if self._session.scalar(closed) is None:
            return False
        now = self._context.clock()
        self._session.add(RemovalRow(case_id=case_id, kind=kind, policy_days=days, begun_at=now))
        self._context.audit(f"{kind} removal decided", case_id, policy_days=days)
        return True

    def done(self, case_id: str, kind: Removable, items: int) -> None:
        """Say that everything of this kind is gone."""
        row = self._session.get_one(RemovalRow, (case_id, kind), with_for_update=True)
        if row.done_at is None:
            row.done_at, row.items = self._context.clock(), items
            self._context.audit(f"{kind} removed", case_id, items=items, policy_days=row.policy_days)

    def images(self, case_id: str) -> tuple[RemovableFile, ...]:
        """Return the originals of a case whose removal began that no other case needs: fields, and instances with frames."""
        begun = select(RemovalRow.begun_at).where(RemovalRow.case_id == case_id, RemovalRow.kind == Removable.IMAGES)
        at = self._session.scalar(begun)
        if at is None:
            return ()
        query = (
            select(StoredFile.stored_name, func.max(Field.frame))
            .join(Field, Field.sha256 == StoredFile.sha256)
            .where(Field.case_id == case_id, Field.received_at <= at, ~_needed_elsewhere(case_id))
            .group_by(StoredFile.stored_name)
            .order_by(StoredFile.stored_name)
        )
        return tuple(RemovableFile(name, frame + 1) for name, frame in self._session.execute(query))

    def pictures(self, case_id: str) -> tuple[str, ...]:
        """Return the names of the drawn pictures of a case."""
        return tuple(self._session.scalars(select(Picture.stored_name).where(Picture.case_id == case_id)))

    def reports(self, case_id: str) -> tuple[str, ...]:
        """Return the names of the files for people of a case; their hashes stay on record."""
        query = select(ReportFileRow.stored_name).join(Report, Report.report_id == ReportFileRow.report_id)
        return tuple(self._session.scalars(query.where(Report.case_id == case_id)))

    def remove_cells(self, case_id: str) -> int:
        """Remove the cells of a case but those that a person judged; its numbers stand in its reports."""
        analyses = select(Analysis.analysis_id).join(Field).where(Field.case_id == case_id)
        mine = (CellRow.analysis_id.in_(analyses), ~_judged(CellRow))
        count = self._session.scalar(select(func.count()).select_from(CellRow).where(*mine)) or 0
        measured = (CellMeasuresRow.analysis_id.in_(analyses), ~_judged(CellMeasuresRow))
        for gone in (
            delete(CellMeasuresRow).where(*measured),
            delete(CellRow).where(*mine),
        ):  # measures first: they refer to cells
            self._session.execute(gone.execution_options(synchronize_session=False))
        return count

    def removed(self, case_id: str) -> dict[Removable, datetime]:
        """Return what of a case was taken away, or is being, and since when."""
        rows = self._session.scalars(select(RemovalRow).where(RemovalRow.case_id == case_id))
        return {row.kind: row.begun_at for row in rows}

    def _closed(self, kind: Removable, days: int) -> tuple[ColumnElement[bool], ...]:
        later = aliased(Report)
        last = ~exists().where(later.case_id == Case.case_id, later.revision > Report.revision).correlate(Case, Report)
        final = exists().where(Report.case_id == Case.case_id, Report.status != PRELIMINARY, last).correlate(Case)
        closed = (
            Case.updated_at <= self._context.clock() - timedelta(days=days),
            or_(Case.state.in_(CLOSED), and_(Case.state == CaseState.REPORTED, final)),
            Case.lease_owner.is_(None),
            ~exists().where(CaseHold.case_id == Case.case_id),
            ~exists().where(Message.case_id == Case.case_id, Message.state.not_in(DONE_MESSAGES)),
        )
        if kind is not Removable.IMAGES:
            return closed
        # What we committed ourselves to keep (Storage Commitment) stays.
        pledged = exists().where(
            Instance.case_id == Case.case_id, PledgeItem.sop_instance_uid == Instance.sop_instance_uid
        )
        return (*closed, ~pledged)


def _needed_elsewhere(case_id: str) -> ColumnElement[bool]:
    """Whether a content belongs to another case as well whose images stay, or to an instance that is of no case."""
    other, removal = aliased(Field), aliased(RemovalRow)
    gone = exists().where(removal.case_id == other.case_id, removal.kind == Removable.IMAGES)
    field = exists().where(other.sha256 == StoredFile.sha256, other.case_id != case_id, ~gone)
    instance = exists().where(Instance.sha256 == StoredFile.sha256, func.coalesce(Instance.case_id, "") != case_id)
    return or_(field, instance)


def _judged(table: type[CellRow | CellMeasuresRow]) -> ColumnElement[bool]:
    """Whether a person judged the cell of a row."""
    return exists().where(CellReviewRow.analysis_id == table.analysis_id, CellReviewRow.number == table.number)
