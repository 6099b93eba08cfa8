"""Whose images DICOM instances are: which case they join, and whether what they say agrees with it.

Plain steps within a transaction. An identifier is matched with its issuer where one is given, never without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from db.agreement import other_number, same_issuer
from db.header_views import InstanceHeaderView
from db.session import UnitOfWork
from db.states import HoldReason
from db.views import Identity
from flows.scanners import Scanners
from integrations.dicom.header import Header

_DESCRIBING = ("family", "given", "birth_date", "sex")
_OF_THE_PATIENT = ("patient_id", "patient_issuer", *_DESCRIBING)


@dataclass(frozen=True, slots=True)
class CaseKey:
    """Under what a case is found or begun."""

    number: str = field(repr=False)
    issuer: str | None = field(default=None, repr=False)


def header_view(header: Header) -> InstanceHeaderView:
    """A header as the database keeps it."""
    first = header.specimens[0] if header.specimens else None
    told = {
        "accession": header.accession,
        "container": header.container,
        "specimen": first.identifier if first else None,
    }
    identifiers: dict[str, Any] = {}
    for name, issued in told.items():
        identifiers |= {name: issued.value if issued else None, f"{name}_issuer": issued.issuer if issued else None}
    patient = header.patient
    same = {one.name for one in fields(InstanceHeaderView)} & {one.name for one in fields(Header)}
    same -= {*identifiers, "specimens"}
    return InstanceHeaderView(
        **{name: getattr(header, name) for name in same},
        **identifiers,
        specimen_uid=first.uid if first else None,
        specimens=len(header.specimens),
        patient_id=patient.identifier.value if patient.identifier else None,
        patient_issuer=patient.identifier.issuer if patient.identifier else None,
        family=patient.family,
        given=patient.given,
        birth_date=patient.birth_date,
        sex=patient.sex,
        rows=header.pixels.rows,
        columns=header.pixels.columns,
        frames=header.pixels.frames,
        um_per_pixel=header.um_per_pixel,
    )


def case_key(work: UnitOfWork, header: InstanceHeaderView) -> CaseKey:
    """Under what the case of an instance stands: its accession number, else its one specimen or container, else its study.

    An instance that names nothing but its study joins the one case that already has images of that study.
    """
    if header.accession:
        return CaseKey(header.accession, header.accession_issuer)
    if header.specimen and header.specimens == 1:
        return CaseKey(header.specimen, header.specimen_issuer)
    if header.container:
        return CaseKey(header.container, header.container_issuer)
    cases = work.headers.cases_of_study(header.study_uid)
    if len(cases) == 1:
        identity = work.identities.get(cases[0])
        return CaseKey(identity.accession, identity.accession_issuer)
    return CaseKey(header.study_uid)


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of comparing a case with its instances.

    Attributes
    ----------
    agrees : bool
        Nothing contradicts; else the case is held.
    needs_order : bool
        No instance names an accession number: only an order can say what the case is.
    """

    agrees: bool = True
    needs_order: bool = False


def follow_headers(work: UnitOfWork, case_id: str, scanners: Scanners) -> Followed:
    """Compare a case with what its instances say; what it lacks it takes from them, a contradiction holds it.

    What a manifest said stays, and so does what a person said when linking the case to an order.
    """
    sources = work.headers.of_case(case_id)
    one_each = list({source.instance_id: source for source in sources}.values())
    work.cases.set_acquisition(case_id, scanners.of_case(one_each, work.cases.get(case_id).acquisition))
    headers = [source.header for source in one_each]
    if not headers:
        return Followed()
    if work.matching.linked_by_person(case_id):
        return Followed()
    identity = work.identities.get(case_id)
    if any(_other_accession(header, identity) for header in headers) or not _same_patient(work, case_id, headers):
        work.cases.hold(case_id, HoldReason.CONFLICT)
        return Followed(agrees=False)
    plain = len(work.fields.of_case(case_id)) > len(sources)  # images without DICOM came under the folder's name
    return Followed(needs_order=not plain and not any(header.accession for header in headers))


def _other_accession(header: InstanceHeaderView, identity: Identity) -> bool:
    if not header.accession:
        return False
    return other_number(header.accession, identity.accession) or not same_issuer(
        header.accession_issuer, identity.accession_issuer
    )


def _same_patient(work: UnitOfWork, case_id: str, headers: Sequence[InstanceHeaderView]) -> bool:
    """Whether all instances are of the case's patient, who is taken from them where nobody is known yet."""
    for header in headers:
        known = work.identities.get(case_id)
        told = Identity(known.accession, **{name: getattr(header, name) for name in _OF_THE_PATIENT})
        agrees = work.matching.agrees(case_id, told)
        if agrees is None:
            wanting = {name: getattr(told, name) for name in _DESCRIBING if getattr(known, name) is None}
            if told.patient_id is not None:
                wanting |= {"patient_id": told.patient_id, "patient_issuer": told.patient_issuer}
            agrees = work.identities.set(case_id, work.patients.current(Identity(known.accession, **wanting)))
        if not agrees:
            return False
    return True
