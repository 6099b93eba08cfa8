"""Reports, the versions of a case's result, and the pictures that go with them.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from db import schema
from db.context import Context, canonical_json
from db.errors import CaseNotReady, IllegalMove, NotFound
from db.people import Actor
from db.release_moves import Act, Standing, next_status, standing_of
from db.report_counts import counts_columns, counts_of
from db.review_schema import ReportActRow
from db.review_views import GradeChange, ReportAct
from db.states import CaseState, FieldState, ReportStatus
from db.views import PictureView, ReportView
from sphero_core.types import BundleId, CaseCounts


class Reports:
    """The reports and pictures within one transaction (`UnitOfWork.reports`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def add(
        self,
        case_id: str,
        revision: int,
        *,
        owner: str,
        counts: CaseCounts,
        bundle: BundleId | None,
        body: Mapping[str, Any],
        not_obtained: str | None = None,
        final: bool = False,
        at: datetime | None = None,
    ) -> ReportView:
        """Record a machine's report, or that there is no result, and move its case from analysed to reported; the lease ends.

        It is preliminary. People's versions are recorded by `db.reviews`.

        Put its messages into the outbox in the same transaction, and only when `ReportView.new` says so. The first
        report of a revision stands: called again it is returned as it is.

        Parameters
        ----------
        revision : int
            The case's, as it was when the work began.
        owner : str
            Who holds the case's lease.
        bundle : BundleId or None
            None only where no field was analysed.
        body : mapping
            What can be written as JSON; without personal data.
        not_obtained : str or None
            Why there is no result, without personal data; then `counts` counts nothing.
        final : bool
            For sites with the policy ``final`` only, which have validated that results leave without a person.
        at : datetime or None
            When the report was made, aware; now by default.

        Raises
        ------
        IllegalMove
            The case is not analysed: open again, held or rejected; or its revision is another by now; or a final result
            is out, so that the next version waits for a person.
        CaseNotReady
            A field has no outcome yet, or no field was analysed and there is to be a result.
        LeaseLost
            `owner` does not hold the case's lease.
        NotFound
        """
        row = self._context.lock_case(case_id)
        known = self._session.scalar(
            select(schema.Report).where(schema.Report.case_id == case_id, schema.Report.revision == revision)
        )
        if known is not None:
            return report_view(known)
        self._context.require_move(row, CaseState.REPORTED)
        self._context.require_lease(row, owner)
        if revision != row.revision:
            raise IllegalMove(
                f"case {case_id} is at revision {row.revision} by now, not at {revision}; analyse it anew"
            )
        if not_obtained is None:
            self._require_fields(row)
        else:
            self._context.require_outcomes(row)
        act = Act.NO_RESULT if not_obtained is not None else Act.RELEASE if final else Act.REPORT
        report = insert_report(
            self._context,
            row,
            next_status(self.standing(case_id), act),
            counts=counts,
            bundle=bundle,
            body=body,
            not_obtained=not_obtained,
            at=at,
        )
        self._context.move_case(
            row, CaseState.REPORTED, report=report.report_id, status=report.status, bundle=report.bundle_sha256
        )
        row.lease_owner = row.lease_expires_at = None
        row.attempts = 0
        return report_view(report, new=True)

    def of_case(self, case_id: str) -> tuple[ReportView, ...]:
        """Return the reports of a case, the first version first."""
        query = (
            select(schema.Report, ReportActRow)
            .outerjoin(ReportActRow, ReportActRow.report_id == schema.Report.report_id)
            .where(schema.Report.case_id == case_id)
            .order_by(schema.Report.revision)
        )
        return tuple(report_view(row, act) for row, act in self._session.execute(query))

    def standing(self, case_id: str) -> Standing:
        """Return what the receivers have of a case."""
        table = schema.Report
        query = select(table.status).where(table.case_id == case_id).order_by(table.revision)
        return standing_of(ReportStatus(status) for status in self._session.scalars(query))

    def add_picture(self, field_id: str, kind: str, stored_name: str, media_type: str) -> PictureView:
        """Record a picture of a field that may be served; a field has one of each kind, the latest.

        Returns
        -------
        PictureView
            Its random id stays when the picture is drawn anew.

        Raises
        ------
        NotFound
        """
        case_id = self._session.scalar(select(schema.Field.case_id).where(schema.Field.field_id == field_id))
        if case_id is None:
            raise NotFound(f"no field has the id {field_id}")
        self._context.lock_case(case_id)
        table = schema.Picture
        row = self._session.scalar(select(table).where(table.field_id == field_id, table.kind == kind))
        if row is None:
            row = table(
                picture_id=secrets.token_hex(16),
                case_id=case_id,
                field_id=field_id,
                kind=kind,
                stored_name=stored_name,
                media_type=media_type,
                created_at=self._context.clock(),
            )
            self._session.add(row)
        elif (row.stored_name, row.media_type) != (stored_name, media_type):
            row.stored_name, row.media_type, row.created_at = stored_name, media_type, self._context.clock()
        return _picture(row)

    def picture(self, picture_id: str) -> PictureView:
        """Return a picture by its random id.

        Raises
        ------
        NotFound
        """
        row = self._session.get(schema.Picture, picture_id)
        if row is None:
            raise NotFound("no picture has this id")
        return _picture(row)

    def pictures_of(self, case_id: str) -> tuple[PictureView, ...]:
        """Return the pictures of a case, in the order its fields came."""
        query = (
            select(schema.Picture)
            .join(schema.Field, schema.Field.field_id == schema.Picture.field_id)
            .where(schema.Picture.case_id == case_id)
            .order_by(schema.Field.number, schema.Picture.kind)
        )
        return tuple(_picture(row) for row in self._session.scalars(query))

    def _require_fields(self, row: schema.Case) -> None:
        self._context.require_outcomes(row)
        query = select(func.count()).where(
            schema.Field.case_id == row.case_id, schema.Field.state == FieldState.ANALYSED
        )
        if not self._session.scalar(query):
            raise CaseNotReady(
                f"no field of case {row.case_id} was analysed; report that there is no result, with the reason"
            )


def _picture(row: schema.Picture) -> PictureView:
    return PictureView(row.picture_id, row.case_id, row.field_id, row.kind, row.stored_name, row.media_type)


def insert_report(
    context: Context,
    case: schema.Case,
    status: ReportStatus,
    *,
    counts: CaseCounts,
    bundle: BundleId | None,
    body: Mapping[str, Any],
    not_obtained: str | None = None,
    at: datetime | None = None,
) -> schema.Report:
    """Add the row of a version at the revision of its locked case; whether it may be stands with the caller."""
    report = schema.Report(
        report_id=context.new_id(),
        case_id=case.case_id,
        revision=case.revision,
        status=status.value,
        **counts_columns(counts),
        bundle_name=bundle.name if bundle else "",
        bundle_version=bundle.version if bundle else "",
        bundle_sha256=bundle.sha256 if bundle else "",
        body=canonical_json(body),
        created_at=at or context.clock(),
        not_obtained=not_obtained,
    )
    context.session.add(report)
    context.session.flush()
    return report


def report_view(row: schema.Report, act: ReportActRow | None = None, *, new: bool = False) -> ReportView:
    """From rows to a value."""
    return ReportView(
        report_id=row.report_id,
        case_id=row.case_id,
        revision=row.revision,
        status=ReportStatus(row.status),
        counts=counts_of(row),
        bundle=BundleId(row.bundle_name, row.bundle_version, row.bundle_sha256) if row.bundle_sha256 else None,
        body=row.body,
        created_at=row.created_at,
        not_obtained=row.not_obtained,
        act=act_view(act) if act is not None else None,
        new=new,
    )


def act_view(row: ReportActRow) -> ReportAct:
    """From a row to a value."""
    return ReportAct(
        act=Act(row.act),
        actor=Actor(row.login, row.identifier, row.authority, row.family, row.given),
        at=row.at,
        comment=row.comment,
        grade=None if row.grade is None else GradeChange(row.grade, row.machine_grade or "", row.grade_reason),
    )
