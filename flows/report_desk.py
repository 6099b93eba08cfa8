"""The report for people of one version of a result: gathered from what is recorded, laid out, kept by an opaque name with its hash.

A version's files are made once and stand. They can be made as long as nothing changed since the version; what was made before is given
as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from importlib.metadata import version
from pathlib import Path

from db.context import canonical_json
from db.release_moves import Act
from db.review_views import ReportFile
from db.session import Database, UnitOfWork
from db.states import ReportStatus
from db.views import Identity, ReportView
from flows.errors import ReviewRefused
from flows.grading import CaseGrader
from flows.outcome import Material, outcome_of, read_material
from flows.report_pdf import report_pdf
from flows.report_pictures import ReportPictures
from integrations.folder.durable import write_durably
from sphero_core.grading import SCHEMES
from sphero_core.report.content import ReportContent, VersionLine, finding_line
from sphero_core.report.html import report_html

STATUS = {
    ReportStatus.PRELIMINARY: "Preliminary",
    ReportStatus.FINAL: "Final",
    ReportStatus.CORRECTED: "Corrected",
    ReportStatus.NOT_OBTAINED: "No result",
    ReportStatus.WRONG_PATIENT: "Withdrawn: wrong patient",
}
KINDS = ("html", "pdf")


class ReportDesk:
    """Makes and keeps reports for people.

    Parameters
    ----------
    database : Database
    store, folder : Path
        Where images are, and where reports are kept.
    laboratory : str
        Name of the site.
    zone : tzinfo
        The site's time zone.
    pixel_aspect : float
        Where a case names none.
    grader : CaseGrader
        As the versions were counted.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Path,
        folder: Path,
        laboratory: str,
        zone: tzinfo,
        pixel_aspect: float,
        grader: CaseGrader,
    ) -> None:
        self._grader = grader
        self._database = database
        self._store = store
        self._folder = folder
        self._laboratory = laboratory
        self._zone = zone
        self._pixel_aspect = pixel_aspect

    def files(self, case_id: str, actor: str, revision: int | None = None) -> dict[str, bytes]:
        """The report of one version by kind (``html``, ``pdf``), made and kept where it was not yet.

        Parameters
        ----------
        actor : str
            Who asks, for the audit.
        revision : int or None
            The latest version by default.

        Raises
        ------
        ReviewRefused
            There is no such version, its report can no longer be made, or what is kept is damaged.
        NotFound, StoreError, DatabaseError
        """
        with self._database.reading() as work:
            case = work.cases.get(case_id)
            reports = work.reports.of_case(case_id)
            report = reports[-1] if reports and revision is None else _version(reports, revision)
            if report is None:
                raise ReviewRefused("there is no such version of a result; `sphero case show` lists them")
            kept = {file.kind: file for file in work.reviews.files_of(report.report_id)}
            if set(kept) >= set(KINDS):
                return {kind: self._read(kept[kind]) for kind in KINDS}
            identity, material = work.identities.get(case_id), read_material(work, case)
        self._require_same(report, material)
        files = self.render(report, reports, identity, material)
        with self._database.transaction(actor) as work:
            self.keep_within(work, report.report_id, files)
        with self._database.reading() as work:
            return {file.kind: self._read(file) for file in work.reviews.files_of(report.report_id)}

    def render(
        self, report: ReportView, reports: Sequence[ReportView], identity: Identity, material: Material
    ) -> dict[str, bytes]:
        """Lay out the report of one version, by kind; nothing is kept.

        Parameters
        ----------
        report : ReportView
            The version, which may be about to be recorded.
        reports : sequence of ReportView
            The history, this version included.
        """
        content = self._content(report, reports, identity, material)
        made = report.created_at.astimezone(self._zone)
        return {"html": report_html(content).encode(), "pdf": report_pdf(content, made)}

    def keep_within(self, work: UnitOfWork, report_id: str, files: Mapping[str, bytes]) -> None:
        """Put the files of a version durably under names that say nothing, and record them in the caller's transaction.

        Raises
        ------
        StoreError
        """
        for kind, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            name = f"{digest}.{kind}"
            write_durably(self._folder / name, data)
            work.reviews.add_file(report_id, kind, sha256=digest, size_bytes=len(data), stored_name=name)

    def opened(self, name: str) -> tuple[str, bytes]:
        """A kept report by its name, with its case.

        Raises
        ------
        NotFound, ReviewRefused, DatabaseError
        """
        with self._database.reading() as work:
            case_id, file = work.reviews.file_named(name)
        return case_id, self._read(file)

    def _require_same(self, report: ReportView, material: Material) -> None:
        if report.tells_result and canonical_json(outcome_of(material, self._grader).body) != report.body:
            raise ReviewRefused(
                f"the case, or how cases are graded, changed since version {report.revision}, of which no report was made; sign, and take the new one's"
            )

    def _read(self, file: ReportFile) -> bytes:
        try:
            data = (self._folder / file.stored_name).read_bytes()
        except OSError:
            raise ReviewRefused(f"the report is recorded, but its file {file.stored_name} cannot be read") from None
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ReviewRefused(f"the report's file {file.stored_name} is not what was made: it was changed or damaged")
        return data

    # ---------------------------------------------------------------------------------------------------------- content
    def _content(
        self, report: ReportView, reports: Sequence[ReportView], identity: Identity, material: Material
    ) -> ReportContent:
        counts = report.counts if report.tells_result else None
        shown = ReportPictures(self._store, material, self._pixel_aspect) if counts is not None else None
        signed = report.act is not None and report.act.act is Act.SIGN
        grading, change = report.counts.grading, report.act.grade if report.act else None
        scheme = SCHEMES.get(grading.scheme) if grading else None
        certain, doubtful, overlays = shown.pictures() if shown else ((), (), ())
        counted = sum(result.findings.quality.accepted for result in material.fields)
        return ReportContent(
            laboratory=self._laboratory or "Laboratory",
            status=STATUS[report.status],
            verified=signed,
            withdrawn=report.status is ReportStatus.WRONG_PATIENT,
            version=str(report.revision),
            made=self._time(report),
            identifiers=_identifiers(identity, self._zone),
            counts=counts,
            grade=grade_of(report),
            grade_note=f"The grade was changed from {change.machine_grade} to {change.grade}: {change.reason}"
            if change
            else "",
            cut_offs=scheme.cut_offs if scheme else (),
            reviewer=report.act.actor.shown if report.act else "",
            comment=report.act.comment if report.act and report.act.act is not Act.REJECT else "",
            not_obtained=report.not_obtained or "",
            certain=certain,
            doubtful=doubtful,
            overlays=overlays,
            omitted_overlays=max(0, counted - len(overlays)) if counts is not None else 0,
            relabelled=sum(cell.machine_class is not None for each in material.fields for cell in each.findings.cells),
            quality=_quality(material),
            model=_model(report),
            versions=tuple(self._line(each) for each in reports if each.revision <= report.revision),
        )

    def _line(self, report: ReportView) -> VersionLine:
        by = report.act.actor.shown if report.act else "Software"
        found = finding_line(report.counts, grade_of(report)) if report.tells_result else "No result"
        return VersionLine(str(report.revision), STATUS[report.status], self._time(report), by, found)

    def _time(self, report: ReportView) -> str:
        return report.created_at.astimezone(self._zone).strftime("%Y-%m-%d %H:%M %Z")


def grade_of(report: ReportView) -> str:
    """The grade that is reported: the person's, where one changed it."""
    if report.act is not None and report.act.grade is not None:
        return report.act.grade.grade
    return report.counts.grading.grade if report.counts.grading else ""


def _version(reports: Sequence[ReportView], revision: int | None) -> ReportView | None:
    return next((report for report in reports if report.revision == revision), None)


def _identifiers(identity: Identity, zone: tzinfo) -> tuple[tuple[str, str], ...]:
    name = ", ".join(part for part in (identity.family, identity.given) if part)
    patient = " ".join(part for part in (identity.patient_id, identity.patient_issuer) if part)
    collected = identity.collected.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z") if identity.collected else ""
    rows = (
        ("Patient", name or "name not known"),
        ("Patient identifier", patient),
        ("Born", identity.birth_date or ""),
        ("Sex", identity.sex or ""),
        ("Accession number", identity.accession),
        ("Order", identity.placer_order or ""),
        ("Collected", collected),
        ("Specimen", "Blood smear"),
    )
    return tuple(row for row in rows if row[1])


def _quality(material: Material) -> tuple[str, ...]:
    lines = [
        f"Field {result.field.number} is not counted: {'; '.join(result.findings.quality.reasons)}"
        for result in material.fields
        if not result.findings.quality.accepted
    ]
    lines += [f"Field {field.number} could not be analysed: {field.reason}" for field in material.refused]
    lines += [f"A file was refused: {file.reason}" for file in material.files]
    return tuple(lines)


def _model(report: ReportView) -> tuple[tuple[str, str], ...]:
    rows = [("Program", f"Spheroflow {version('spheroflow')}"), ("Method", "Mask R-CNN segmentation of red cells")]
    if report.bundle is not None:
        rows.append(("Model bundle", f"{report.bundle.name} {report.bundle.version}"))
        rows.append(("SHA-256", report.bundle.sha256))
    return tuple(rows)
