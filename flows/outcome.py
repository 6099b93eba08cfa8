"""What a case comes to: its fields with their findings, counted, and the numbers with what limits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from db.session import UnitOfWork
from db.states import FieldState
from db.views import CaseView, FieldResult, FieldView, QuarantineView
from flows.grading import CaseGrader
from flows.intake import refused_pictures
from flows.refusals import why_nothing
from sphero_core.exports import FieldRecord, summary_document
from sphero_core.morphology import relate_to_case
from sphero_core.types import BundleId, CaseCounts


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a case rests on.

    Attributes
    ----------
    case : CaseView
    fields : tuple of FieldResult
        Analysed ones, their cells related to the case's median red cell.
    refused : tuple of FieldView
        Those that could not be analysed.
    files : tuple of QuarantineView
        Refused files that were to be fields.
    """

    case: CaseView
    fields: tuple[FieldResult, ...]
    refused: tuple[FieldView, ...] = ()
    files: tuple[QuarantineView, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case came to, before it is recorded.

    Attributes
    ----------
    counts : CaseCounts
    bundle : BundleId or None
        None where no field was analysed.
    body : mapping
        What is kept beside the numbers.
    not_obtained : str or None
        Why there is no result.
    fields : tuple of FieldResult
        What was analysed; for pictures.
    material : Material or None
        What it rests on; for the report for people.
    """

    counts: CaseCounts
    bundle: BundleId | None
    body: Mapping[str, Any]
    not_obtained: str | None = None
    fields: tuple[FieldResult, ...] = ()
    material: Material | None = None


def read_material(work: UnitOfWork, case: CaseView) -> Material:
    """Read what a case rests on; cells have the classes that people gave them."""
    fields = work.analyses.results_of(case.case_id)
    related = relate_to_case([result.findings for result in fields])
    return Material(
        case,
        tuple(replace(result, findings=found) for result, found in zip(fields, related, strict=True)),
        work.fields.of_case(case.case_id, FieldState.QUARANTINED),
        tuple(refused_pictures(work, case.case_id)),
    )


def outcome_of(material: Material, grader: CaseGrader) -> Outcome:
    """Count and grade a case whose every field has its outcome."""
    case, fields = material.case, material.fields
    bundle = fields[-1].bundle if fields else None
    found = [result.findings for result in fields]
    counts = grader.count(found, bundle, case.acquisition.um_per_pixel)
    counts = _with_files(counts, put_aside=len(material.refused) + len(material.files))
    body = summary_document(bundle, records_of(case, fields), counts) if bundle is not None else {}
    nothing = None if counts.fields else why_nothing(fields, material.refused, material.files)
    return Outcome(counts, bundle, body, nothing, fields, material)


def records_of(case: CaseView, fields: Sequence[FieldResult]) -> list[FieldRecord]:
    """The fields as exports take them, each named by our own id."""
    return [
        FieldRecord(
            file=result.field.field_id,
            sha256=result.field.sha256,
            stored_width=result.field.width,
            stored_height=result.field.height,
            um_per_pixel=case.acquisition.um_per_pixel,
            findings=result.findings,
        )
        for result in fields
    ]


def _with_files(counts: CaseCounts, *, put_aside: int) -> CaseCounts:
    """The counts, with what is said of files that could not be read."""
    if not put_aside:
        return counts
    files = "1 file" if put_aside == 1 else f"{put_aside} files"
    said = f"{files} of the case could not be read and {'was' if put_aside == 1 else 'were'} put aside."
    return replace(counts, limitations=(*counts.limitations, said))
