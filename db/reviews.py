"""What people do with a result: give cells another class, sign, reject, withdraw.

Every method can be called twice with the same effect, and notes its audit event in the same transaction; a person's words are kept with
the report, and never in the audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from db import schema
from db.context import Context, canonical_json
from db.errors import CaseChanged, IllegalMove, NotFound
from db.people import Actor
from db.release_moves import Act, next_status
from db.reports import Reports, insert_report, report_view
from db.review_rows import latest_reviews
from db.review_schema import CellReviewRow, ReportActRow, ReportFileRow
from db.review_views import CellReview, GradeChange, ReportFile, Seen
from db.states import CaseState, FieldState
from db.views import ReportView
from sphero_core.types import BundleId, CaseCounts, CellClass

SIGNABLE: frozenset[CaseState] = frozenset({CaseState.ANALYSED, CaseState.REPORTED, CaseState.SIGNED})
"""States in which every field has its outcome, so that a person can judge."""


class Reviews:
    """People's acts within one transaction (`UnitOfWork.reviews`)."""

    def __init__(self, context: Context, reports: Reports) -> None:
        self._context = context
        self._session = context.session
        self._reports = reports

    def seen(self, case_id: str) -> Seen:
        """Return what a person who looks at the case now sees, to hand to `sign`.

        Raises
        ------
        NotFound
        """
        case = self._session.get(schema.Case, case_id)
        if case is None:
            raise NotFound(f"no case has the id {case_id}")
        analyses = self._latest_analyses(case_id)
        last = select(func.max(CellReviewRow.sequence)).where(CellReviewRow.case_id == case_id)
        return Seen(case.revision, analyses, self._session.scalar(last) or 0)

    def relabel(self, case_id: str, field: int, cell: int, cell_class: CellClass, actor: Actor) -> CellReview:
        """Give a cell of the latest analysis another class; the model's call is kept.

        Parameters
        ----------
        field, cell : int
            Numbers from 1, as of `CellReview`.

        Raises
        ------
        IllegalMove
            The case is not analysed, or held, or closed.
        NotFound
            There is no such case, field or cell.
        """
        case = self._require_signable(case_id)
        field_id, analysis_id = self._analysis_of(case_id, field)
        machine = self._session.scalar(
            select(schema.CellRow.cell_class).where(
                schema.CellRow.analysis_id == analysis_id, schema.CellRow.number == cell - 1
            )
        )
        if machine is None:
            raise NotFound(f"field {field} of the case has no cell {cell}; see the report or `sphero case export`")
        before = latest_reviews(self._session, [analysis_id]).get((analysis_id, cell - 1), machine)
        review = CellReview(field, cell, machine, before, cell_class, actor.login, changed=before is not cell_class)
        if not review.changed:
            return review
        row = CellReviewRow(
            case_id=case_id,
            analysis_id=analysis_id,
            number=cell - 1,
            cell_class=cell_class,
            login=actor.login,
            at=self._context.clock(),
        )
        self._session.add(row)
        self._session.flush()
        # A picture that was drawn before shows the old class: under a new name it is drawn anew.
        stored_name = f"{field_id}-{analysis_id}-{row.sequence}.jpg"
        self._reports.add_picture(field_id, "overlay", stored_name, "image/jpeg")
        case.updated_at = self._context.clock()
        self._context.audit(
            "cell relabelled", case_id, field=field_id, cell=cell, machine=machine, before=before, now=cell_class
        )
        return review

    def relabelled(self, case_id: str) -> int:
        """Return how many cells of the latest analyses have another class than the model gave them."""
        reviewed = latest_reviews(self._session, self._latest_analyses(case_id))
        table = schema.CellRow
        return sum(
            self._session.scalar(
                select(table.cell_class).where(table.analysis_id == analysis_id, table.number == number)
            )
            is not given
            for (analysis_id, number), given in reviewed.items()
        )

    def unsigned(self) -> tuple[str, ...]:
        """Return the signed cases in which a cell got another class since: what is out does not say so yet."""
        last = select(func.max(schema.Report.created_at)).where(schema.Report.case_id == schema.Case.case_id)
        query = (
            select(schema.Case.case_id)
            .join(CellReviewRow, CellReviewRow.case_id == schema.Case.case_id)
            .where(schema.Case.state == CaseState.SIGNED, CellReviewRow.at > last.scalar_subquery())
            .distinct()
            .order_by(schema.Case.case_id.desc())
        )
        return tuple(self._session.scalars(query))

    def sign(
        self,
        case_id: str,
        actor: Actor,
        *,
        seen: Seen,
        counts: CaseCounts,
        bundle: BundleId,
        body: Mapping[str, Any],
        comment: str = "",
        grade: GradeChange | None = None,
        deliberate: bool = False,
        at: datetime | None = None,
    ) -> ReportView:
        """Record that a person stands behind a result: final, or corrected where a final one is out.

        Put its messages into the outbox in the same transaction, and only when `ReportView.new` says so. Signing again
        what is signed and has not changed returns the version that is there.

        Parameters
        ----------
        seen : Seen
            What `counts` rest on.
        deliberate : bool
            Whether the person gave a comment or a grade, so that they count where nothing else changed.

        Raises
        ------
        CaseChanged
            Something came since.
        IllegalMove
            The case is not analysed, or held, or closed.
        NotFound
        """
        case = self._require_signable(case_id)
        self._context.require_outcomes(case)
        known = self._reports.of_case(case_id)
        latest = known[-1] if known else None
        if latest is not None and latest.act is not None and case.state is CaseState.SIGNED:
            same_words = not deliberate or (latest.act.comment, latest.act.grade) == (comment, grade)
            if latest.body == canonical_json(body) and same_words:
                return latest
        if self.seen(case_id) != seen:
            raise CaseChanged("the case changed while it was looked at; look again, then sign")
        status = next_status(self._reports.standing(case_id), Act.SIGN)
        if latest is not None and latest.revision == case.revision:
            case.revision += 1
        report = insert_report(self._context, case, status, counts=counts, bundle=bundle, body=body, at=at)
        self._stand_behind(report, Act.SIGN, actor, comment, grade)
        detail = {"report": report.report_id, "status": status, "grade_changed": grade is not None}
        if case.state is CaseState.SIGNED:
            self._context.audit("case signed again", case_id, revision=case.revision, **detail)
        else:
            self._context.move_case(case, CaseState.SIGNED, **detail)
        case.lease_owner = case.lease_expires_at = None
        case.attempts = 0
        return self._with_act(report)

    def close(
        self,
        case_id: str,
        act: Act,
        actor: Actor,
        *,
        reason: str,
        counts: CaseCounts,
        bundle: BundleId | None,
        body: Mapping[str, Any],
        at: datetime | None = None,
    ) -> ReportView:
        """Reject a case, or withdraw what was reported for the wrong patient; the case is closed for good.

        Put its messages into the outbox in the same transaction, and only when `ReportView.new` says so.

        Parameters
        ----------
        act : Act
            `Act.REJECT` or `Act.WITHDRAW`.
        reason : str
            It leaves with the messages, and stands in the audit: without personal data.
        counts, bundle, body
            With a withdrawal what was told last, which is withdrawn; with a rejection nothing.

        Raises
        ------
        IllegalMove
            A rejection where a final result is out, a withdrawal where no result is; or the case was closed otherwise.
        NotFound
        """
        case = self._context.lock_case(case_id)
        known = self._reports.of_case(case_id)
        if case.state is CaseState.REJECTED:
            if known and known[-1].act is not None and known[-1].act.act is act:
                return known[-1]
            raise IllegalMove("the case is closed already; see `sphero case show`")
        status = next_status(self._reports.standing(case_id), act)
        self._context.require_move(case, CaseState.REJECTED)
        if known and known[-1].revision == case.revision:
            case.revision += 1
        told = f"rejected: {reason}" if act is Act.REJECT else None
        report = insert_report(
            self._context, case, status, counts=counts, bundle=bundle, body=body, not_obtained=told, at=at
        )
        self._stand_behind(report, act, actor, reason, None)
        self._context.close_case(case, reason)
        return self._with_act(report)

    def add_file(self, report_id: str, kind: str, *, sha256: str, size_bytes: int, stored_name: str) -> ReportFile:
        """Record a report for people, as it was made; the first of a kind stands.

        Raises
        ------
        NotFound
        """
        case_id = self._session.scalar(select(schema.Report.case_id).where(schema.Report.report_id == report_id))
        if case_id is None:
            raise NotFound("no report has this id")
        self._context.lock_case(case_id)
        row = self._session.get(ReportFileRow, (report_id, kind))
        if row is None:
            row = ReportFileRow(
                report_id=report_id,
                kind=kind,
                sha256=sha256,
                size_bytes=size_bytes,
                stored_name=stored_name,
                at=self._context.clock(),
            )
            self._session.add(row)
            self._context.audit("report file made", case_id, report=report_id, kind=kind, sha256=sha256)
        return _file(row)

    def files_of(self, report_id: str) -> tuple[ReportFile, ...]:
        """Return the reports for people of one version, by kind."""
        query = select(ReportFileRow).where(ReportFileRow.report_id == report_id).order_by(ReportFileRow.kind)
        return tuple(_file(row) for row in self._session.scalars(query))

    def file_named(self, stored_name: str) -> tuple[str, ReportFile]:
        """Return a report for people by its name in our store, with the case it belongs to.

        Raises
        ------
        NotFound
        """
        query = (
            select(schema.Report.case_id, ReportFileRow)
            .join(schema.Report, schema.Report.report_id == ReportFileRow.report_id)
            .where(ReportFileRow.sha256 == stored_name.partition(".")[0], ReportFileRow.stored_name == stored_name)
        )
        found = self._session.execute(query).first()
        if found is None:
            raise NotFound("no report has this name")
        return found[0], _file(found[1])

    def _require_signable(self, case_id: str) -> schema.Case:
        case = self._context.lock_case(case_id)
        if case.state not in SIGNABLE:
            why = {
                CaseState.HELD: "it is held: see `sphero case show`, and release it first",
                CaseState.REJECTED: "it is closed for good",
            }.get(case.state, "it is not analysed yet")
            raise IllegalMove(f"nobody can review case {case_id} now: {why}")
        return case

    def _latest_analyses(self, case_id: str) -> tuple[int, ...]:
        field, analysis = schema.Field, schema.Analysis
        query = (
            select(func.max(analysis.analysis_id))
            .join(field)
            .where(field.case_id == case_id, field.state == FieldState.ANALYSED)
            .group_by(field.field_id)
        )
        return tuple(sorted(self._session.scalars(query)))

    def _analysis_of(self, case_id: str, number: int) -> tuple[str, int]:
        field, analysis = schema.Field, schema.Analysis
        query = (
            select(field.field_id, func.max(analysis.analysis_id))
            .join(analysis, analysis.field_id == field.field_id)
            .where(field.case_id == case_id, field.number == number, field.state == FieldState.ANALYSED)
            .group_by(field.field_id)
        )
        found = self._session.execute(query).one_or_none()
        if found is None:
            raise NotFound(f"the case has no analysed field {number}; `sphero case show` lists its fields")
        return found[0], found[1]

    def _stand_behind(
        self, report: schema.Report, act: Act, actor: Actor, comment: str, grade: GradeChange | None
    ) -> None:
        self._session.add(
            ReportActRow(
                report_id=report.report_id,
                act=act.value,
                login=actor.login,
                identifier=actor.identifier or actor.login,
                authority=actor.authority,
                family=actor.family,
                given=actor.given,
                comment=comment,
                grade=grade.grade if grade else None,
                machine_grade=grade.machine_grade if grade else None,
                grade_reason=grade.reason if grade else "",
                at=self._context.clock(),
            )
        )
        self._session.flush()

    def _with_act(self, report: schema.Report) -> ReportView:
        return report_view(report, self._session.get_one(ReportActRow, report.report_id), new=True)


def _file(row: ReportFileRow) -> ReportFile:
    return ReportFile(row.report_id, row.kind, row.sha256, row.size_bytes, row.stored_name)
