"""What one message tells about one case, as values; and whether it can be told at all.

These are the types that the flows fill in; they know nothing of HL7's syntax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, datetime

from integrations.errors import PatientUnknown, ResultRefused
from sphero_core.types import BundleId, CaseCounts

SEXES = ("A", "F", "M", "N", "O", "U")  # HL7 table 0001


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
    """

    accession: str = field(repr=False)
    accession_issuer: str = field(default="", repr=False)
    placer: str = field(default="", repr=False)
    filler: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OruResult:
    """What one message tells about one case.

    Attributes
    ----------
    case_id : str
        Our own opaque id.
    revision : int
        Version of the report, from 1.
    patient : Patient or None
        None makes `build_oru` raise `PatientUnknown`.
    order : OrderNumbers
    counts : CaseCounts or None
        None when there is no result; then `not_obtained` says why. Exactly one of the two is given.
    not_obtained : str or None
        Why there is no result, in words.
    bundle : BundleId or None
        The model that counted; None when none did.
    software_version : str
    collected : datetime or None
        When the specimen was taken, with its zone.
    analysed : datetime or None
        When the last field was analysed, with its zone; None when none was.
    reported : datetime
        When this version of the report was made, with its zone; also MSH-7, so the bytes do not change.
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


def require_tellable(result: OruResult) -> Patient:
    """Check a result before a message is made of it, and return its patient.

    Raises
    ------
    PatientUnknown
        Without patient identifier or assigning authority.
    ResultRefused
        For contradictory counts, a time without zone, an unknown sex.
    """
    patient = _known_patient(result)  # first: an unknown patient holds the case, whatever else is wrong
    _require_consistent(result)
    return patient


def _known_patient(result: OruResult) -> Patient:
    patient = result.patient
    if patient is None or not patient.identifier.strip() or not patient.authority.strip():
        raise PatientUnknown(
            "PID-3: no patient identifier with its assigning authority; give patient.id and patient.issuer"
        )
    if patient.sex not in ("", *SEXES):
        raise ResultRefused(f"PID-8: the sex must be one of {', '.join(SEXES)} (HL7 table 0001) or be left out")
    return patient


def _require_consistent(result: OruResult) -> None:
    if not result.order.accession.strip():
        raise ResultRefused("OBR-3: no accession number")
    for name, moment in (("reported", result.reported), ("analysed", result.analysed), ("collected", result.collected)):
        if moment is not None and moment.utcoffset() is None:
            raise ResultRefused(f"the time `{name}` has no zone; give it with its offset to UTC")
    if (result.counts is None) == (result.not_obtained is None):
        raise ResultRefused("a result has either counts or a reason why there are none")
    if result.counts is not None:
        _check_counts(result.counts)


def _check_counts(counts: CaseCounts) -> None:
    if not 0 <= counts.spherocytes <= counts.red_cells:
        raise ResultRefused("OBX: more spherocytes than red cells, or a negative number")
    numbers = [counts.spherocyte_percent, *(counts.ci95 or ())]
    if any(number is not None and not (math.isfinite(number) and 0 <= number <= 100) for number in numbers):
        raise ResultRefused("OBX: a percentage outside 0 to 100")
    if (counts.red_cells == 0) != (counts.spherocyte_percent is None):
        raise ResultRefused("OBX: a percentage needs red cells, and red cells give a percentage")
