"""What one message tells about one case, as values; and whether it can be told at all.

These are the types that the flows fill in; they know nothing of HL7's syntax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from integrations.errors import PatientUnknown, ResultRefused
from sphero_core.types import BundleId, CaseCounts

SEXES = ("A", "F", "M", "N", "O", "U")  # HL7 table 0001
NO_GRADE = "0"


class ResultStatus(StrEnum):
    """What a version of a result is."""

    UNVERIFIED = "unverified"  # by software alone
    FINAL = "final"  # a person signed it
    RELEASED = "released"  # by software alone, at a site that has validated it
    CORRECTED = "corrected"  # a person signed it, and it replaces a final one
    WRONG_PATIENT = "wrong patient"  # what was told before does not belong to this patient
    NOT_OBTAINED = "not obtained"  # the case was rejected, or every field refused


VERIFIED = frozenset({ResultStatus.FINAL, ResultStatus.CORRECTED, ResultStatus.RELEASED})


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose specimen it is; personal data, hidden from the `repr`.

    Attributes
    ----------
    identifier, authority : str
        PID-3: the identifier and who assigned it.
    family, given : str
    birth_date : date or None
    sex : str
        One of `SEXES`, or empty.
    """

    identifier: str = field(repr=False)
    authority: str = field(repr=False)
    family: str = field(default="", repr=False)
    given: str = field(default="", repr=False)
    birth_date: date | None = field(default=None, repr=False)
    sex: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OrderNumbers:
    """The numbers of the order, echoed as they came; personal data, hidden from the `repr`.

    Attributes
    ----------
    accession, accession_issuer : str
    placer, filler : str
        Empty when unknown. Without a filler number the accession number stands in its place.
    placer_issuer, filler_issuer : tuple of str
        The components that follow the number: namespace, universal id, its type.
    """

    accession: str = field(repr=False)
    accession_issuer: str = field(default="", repr=False)
    placer: str = field(default="", repr=False)
    filler: str = field(default="", repr=False)
    placer_issuer: tuple[str, ...] = field(default=(), repr=False)
    filler_issuer: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who verified a result (OBX-16, OBR-32).

    Attributes
    ----------
    identifier : str
        As the receiver knows the person, or the login.
    authority : str
        Who assigned the identifier.
    family, given : str
    """

    identifier: str
    authority: str = ""
    family: str = ""
    given: str = ""


SOFTWARE = Reviewer("AUTO", family="Released by software")
"""Stands in OBX-16 and OBR-32 of what software released: receivers require somebody there, and no person may be named."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether spherocytes are there, by a grade.

    Attributes
    ----------
    detected : bool
    grade : str
        ``0`` to the scheme's top, such as ``2+``.
    scheme : str
        The grading scheme's name.
    false_call_percent : float or None
        Share of red cells the model calls spherocytes on smears without any, in percent; of the bundle. None where it was
        not measured: then nothing is detected.
    reason : str
        Why they are, or are not, called detected, in words.
    by_person : bool
        Whether a person gave the grade: then it alone says whether they are detected.
    """

    detected: bool
    grade: str
    scheme: str
    false_call_percent: float | None
    reason: str = ""
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of one field with the cells outlined; exactly as it leaves.

    Attributes
    ----------
    jpeg : bytes or None
        When embedded.
    url : str or None
        When by pointer. With neither, the receiver is told that there is no such picture (any more).
    """

    jpeg: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """The report for people of this version; exactly as it leaves.

    Attributes
    ----------
    pdf : bytes or None
        When embedded.
    url : str or None
        When by pointer. With neither, the receiver is told that there is none.
    note : str
        Why there is none, in words.
    """

    pdf: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    note: str = ""


@dataclass(frozen=True, slots=True)
class ReportedResult:
    """What one message tells about one case.

    Each version tells everything: a receiver replaces what it has by what comes.

    Attributes
    ----------
    case_id : str
        Our own opaque id.
    revision : int
        Version of the report, from 1.
    patient : Patient or None
        None makes `build_message` raise `PatientUnknown`.
    order : OrderNumbers
    counts : CaseCounts or None
        None when there is no result; then `not_obtained` says why. With the wrong patient: what was told before.
    not_obtained : str or None
        Why there is no result, in words; one line for each reason.
    bundle : BundleId or None
        The model that counted; None when none did.
    software_version : str
    collected : datetime or None
        When the specimen was taken, with its zone.
    analysed : datetime or None
        When the last field was analysed, with its zone; None when none was.
    reported : datetime
        When this version of the report was made, with its zone; also MSH-7, so the bytes do not change.
    follows : datetime or None
        `reported` of the version before, whose OBR-22 this one's must exceed.
    status : ResultStatus
    reviewer : Reviewer or None
        Who verified it; always given with final and corrected results, never with unverified ones.
    presence : Presence or None
        None where nothing was graded: then presence is not told.
    comment : str
        Of the reviewer.
    pictures : tuple of Picture
        As many as the version before had, or more.
    document : Document
        The report for people; told only where the profile sends one.
    """

    case_id: str
    revision: int
    patient: Patient | None
    order: OrderNumbers
    counts: CaseCounts | None
    bundle: BundleId | None
    software_version: str
    reported: datetime
    analysed: datetime | None = None
    collected: datetime | None = None
    not_obtained: str | None = None
    follows: datetime | None = None
    status: ResultStatus = ResultStatus.UNVERIFIED
    reviewer: Reviewer | None = None
    presence: Presence | None = None
    comment: str = field(default="", repr=False)
    pictures: tuple[Picture, ...] = ()
    document: Document = Document()


def require_tellable(result: ReportedResult) -> Patient:
    """Check a result before a message is made of it, and return its patient.

    Raises
    ------
    PatientUnknown
        Without patient identifier or assigning authority.
    ResultRefused
        For contradictory counts or status, a time without zone, an unknown sex.
    """
    patient = _known_patient(result)  # first: an unknown patient holds the case, whatever else is wrong
    if not result.order.accession.strip():
        raise ResultRefused("OBR-3: no accession number")
    _check_times(result)
    _check_status(result)
    if result.counts is not None:
        _check_counts(result.counts)
        if result.presence is not None:
            _check_presence(result.counts, result.presence)
    return patient


def _known_patient(result: ReportedResult) -> Patient:
    patient = result.patient
    if patient is None or not patient.identifier.strip() or not patient.authority.strip():
        raise PatientUnknown(
            "PID-3: no patient identifier with its assigning authority; give patient.id and patient.issuer"
        )
    if patient.sex not in ("", *SEXES):
        raise ResultRefused(f"PID-8: the sex must be one of {', '.join(SEXES)} (HL7 table 0001) or be left out")
    return patient


def _check_times(result: ReportedResult) -> None:
    for name in ("reported", "analysed", "collected", "follows"):
        moment = getattr(result, name)
        if moment is not None and moment.utcoffset() is None:
            raise ResultRefused(f"the time `{name}` has no zone; give it with its offset to UTC")
    # Messages tell seconds: within one, a receiver could not say which version is the later one.
    if result.follows is not None and int(result.reported.timestamp()) <= int(result.follows.timestamp()):
        raise ResultRefused("OBR-22: not later than that of the version before")


def _check_status(result: ReportedResult) -> None:
    if (result.counts is None) == (result.not_obtained is None):
        raise ResultRefused("a result has either counts or a reason why there are none")
    if (result.counts is None) != (result.status is ResultStatus.NOT_OBTAINED):
        raise ResultRefused("OBX-11: the status X is for a result that could not be obtained, and no other is")
    if result.status in VERIFIED and (result.reviewer is None or not result.reviewer.identifier.strip()):
        raise ResultRefused("OBX-16: a final or corrected result needs the person who verified it")
    if result.status is ResultStatus.UNVERIFIED and result.reviewer is not None:
        raise ResultRefused("OBX-16: a result that a person verified is final or corrected")


def _check_counts(counts: CaseCounts) -> None:
    if not 0 <= counts.spherocytes <= counts.red_cells:
        raise ResultRefused("OBX: more spherocytes than red cells, or a negative number")
    numbers = [counts.spherocyte_percent, *(counts.ci95 or ())]
    if any(number is not None and not (math.isfinite(number) and 0 <= number <= 100) for number in numbers):
        raise ResultRefused("OBX: a percentage outside 0 to 100")
    if (counts.red_cells == 0) != (counts.spherocyte_percent is None):
        raise ResultRefused("OBX: a percentage needs red cells, and red cells give a percentage")


def _check_presence(counts: CaseCounts, presence: Presence) -> None:
    false_calls = presence.false_call_percent
    if false_calls is not None and not (math.isfinite(false_calls) and 0 <= false_calls <= 100):
        raise ResultRefused("OBX: a false-call share outside 0 to 100 %")
    if not presence.grade.strip() or not presence.scheme.strip():
        raise ResultRefused("OBX: a presence needs its grade and the scheme's name")
    above = counts.ci95 is not None and false_calls is not None and counts.ci95[0] > false_calls
    sure = presence.by_person or above
    if presence.detected != (sure and presence.grade != NO_GRADE):
        raise ResultRefused(
            "OBX: spherocytes are detected exactly when the grade is above 0 and the interval lies above the share of "
            "false calls"
        )
