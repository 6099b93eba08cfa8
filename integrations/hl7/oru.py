"""ORU^R01 2.5.1 from the result of one case.

Structure (IHE LAB-3): ``MSH [SFT] PID PV1 ORC OBR {OBX [NTE]} [SPM]``.

The program reports spherocytes: their share and number, never a disease, and no "detected" or "not detected" as long
as there is no grade to rest it on. A result that no person has verified leaves as preliminary; a case that was
rejected, or had no usable field, says so with OBX-11 X and the reason, and overwrites what may have been sent before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from integrations.hl7.builder import GroupBuilder, MessageBuilder
from integrations.hl7.conformance import require_conformance
from integrations.hl7.control_id import derive_control_id, stamp_control_id
from integrations.hl7.escape import Charset, escape_lines, escape_text
from integrations.hl7.profile import Code, ObservationCodes, Profile
from integrations.hl7.result import OruResult, Patient, require_tellable
from sphero_core.types import BundleId, CaseCounts

VENDOR, PRODUCT = "Spheroflow", "SPHERO"

NOTE_DECISION_SUPPORT = "Decision support: correlate with DAT, reticulocytes, MCHC, EMA binding and family history."
NOTE_UNVERIFIED = "Counted by software; not verified by a person."


@dataclass(frozen=True, slots=True)
class OruMessage:
    """A finished message.

    Attributes
    ----------
    control_id : str
        MSH-10.
    body : bytes
        As it is sent, without MLLP framing. Holds personal data.
    sha256 : str
        Of `body`, hex.
    """

    control_id: str
    body: bytes = field(repr=False)
    sha256: str


@dataclass(frozen=True, slots=True)
class _Observation:
    """One OBX with its notes, values unescaped."""

    code: Code
    data_type: str
    value: str = ""
    unit: Code | None = None
    notes: tuple[str, ...] = ()


_PERCENT = Code("%", "percent", "UCUM")
_NUMBER = Code("{#}", "count", "UCUM")


def build_oru(result: OruResult, profile: Profile, destination: str) -> OruMessage:
    """Build the message that tells one version of a case's result to one destination.

    Parameters
    ----------
    result : OruResult
    profile : Profile
        Of the destination.
    destination : str
        The destination's name; goes into the control id.

    Returns
    -------
    OruMessage
        Checked by `conformance`; equal arguments give equal bytes.

    Raises
    ------
    PatientUnknown
        Without patient identifier or assigning authority: the case is to be held.
    TextRefused
        A text cannot be sent; the field is named.
    ResultRefused
        Contradictory counts, a time without zone, an unknown sex.
    ConformanceError
        The finished message breaks our own check: a fault of the program, not of its input.
    """
    patient = require_tellable(result)
    body = _Oru(result, patient, profile).write().encode(profile.charset.codec)
    control_id = derive_control_id(result.case_id, result.revision, destination, body)
    body = stamp_control_id(body, control_id)
    require_conformance(body)
    return OruMessage(control_id, body, hashlib.sha256(body).hexdigest())


class _Oru:
    """One message being written: carries result, profile and character set through the segments."""

    def __init__(self, result: OruResult, patient: Patient, profile: Profile) -> None:
        self._result = result
        self._patient = patient
        self._profile = profile
        self._status = profile.unverified_status if result.counts is not None else "X"

    def write(self) -> str:
        message = MessageBuilder("ORU_R01")
        self._write_header(message)
        patient_result = message.group("ORU_R01_PATIENT_RESULT")
        self._write_patient(patient_result.group("ORU_R01_PATIENT"))
        order = patient_result.group("ORU_R01_ORDER_OBSERVATION")
        self._write_order(order)
        for number, observation in enumerate(_observations(self._result, self._profile.codes), start=1):
            self._write_observation(order.group("ORU_R01_OBSERVATION"), number, observation)
        self._write_specimen(order.group("ORU_R01_SPECIMEN"))
        return message.to_er7()

    def _text(self, value: str, place: str) -> str:
        return escape_text(value, place, self._profile.charset)

    def _code(self, code: Code, place: str) -> tuple[str, ...]:
        return tuple(self._text(part, place) for part in (code.identifier, code.text, code.system))

    def _write_header(self, message: MessageBuilder) -> None:
        profile = self._profile
        header = message.header
        header.put(3, self._text(profile.sending_application, "MSH-3 sending application"))
        header.put(4, self._text(profile.sending_facility, "MSH-4 sending facility"))
        header.put(5, self._text(profile.receiving_application, "MSH-5 receiving application"))
        header.put(6, self._text(profile.receiving_facility, "MSH-6 receiving facility"))
        header.put(7, _moment(self._result.reported))
        header.put(9, ("ORU", "R01", "ORU_R01"))
        header.put(11, profile.processing_id)
        if profile.charset is not Charset.ASCII:
            header.put(18, profile.charset.value)
        bundle = self._result.bundle
        software = message.segment("SFT").put(1, VENDOR)
        software.put(2, self._text(self._result.software_version, "SFT-2 software version")).put(3, PRODUCT)
        software.put(4, self._text(_bundle_name(bundle) if bundle else "no model", "SFT-4 model bundle"))

    def _write_patient(self, group: GroupBuilder) -> None:
        patient = self._patient
        identifier = self._text(patient.identifier, "PID-3 patient identifier")
        authority = self._text(patient.authority, "PID-3 assigning authority")
        name = (self._text(patient.family, "PID-5 family name"), self._text(patient.given, "PID-5 given name"))
        segment = group.segment("PID").put(1, "1")
        segment.put(3, (identifier, "", "", authority, self._text(self._profile.identifier_type, "PID-3 type")))
        # PID-5 is required: a name nobody knows is said to be unspecified (PID-5.7, HL7 table 0200).
        segment.put(5, name if any(name) else ("", "", "", "", "", "", "U"))
        segment.put(7, patient.birth_date.strftime("%Y%m%d") if patient.birth_date else "")
        segment.put(8, patient.sex)
        group.group("ORU_R01_VISIT").segment("PV1").put(1, "1").put(2, "U")

    def _write_order(self, group: GroupBuilder) -> None:
        numbers = self._result.order
        accession = self._text(numbers.accession, "OBR-3 accession number")
        issuer = self._text(numbers.accession_issuer, "OBR-3 accession issuer")
        placer = self._text(numbers.placer, "OBR-2 placer order number")
        filler: tuple[str, ...] = (self._text(numbers.filler, "OBR-3 filler order number"),)
        if not any(filler):
            filler = (accession, issuer)
        group.segment("ORC").put(1, "RE").put(2, placer).put(3, filler)
        observation = group.segment("OBR").put(1, "1").put(2, placer).put(3, filler)
        observation.put(4, self._code(self._profile.codes.panel, "OBR-4 panel"))
        if self._result.collected is not None:
            observation.put(7, _moment(self._result.collected))
        if "OBR-18" in self._profile.accession_fields:
            observation.put(18, accession)
        observation.put(22, _moment(self._result.reported)).put(24, "HM").put(25, self._status)

    def _write_observation(self, group: GroupBuilder, number: int, observation: _Observation) -> None:
        result = self._result
        # Without red cells there is no percentage, but the other figures stand.
        obtained = observation.value != "" and result.counts is not None
        segment = group.segment("OBX").put(1, str(number)).put(2, observation.data_type)
        segment.put(3, self._code(observation.code, "OBX-3 observation"))
        if obtained:
            segment.put(5, self._text(observation.value, "OBX-5 value"))
            if observation.unit is not None:
                segment.put(6, self._code(observation.unit, "OBX-6 unit"))
        segment.put(11, self._status if obtained else "X")
        if result.collected is not None:
            segment.put(14, _moment(result.collected))
        segment.put(17, self._code(self._profile.codes.method, "OBX-17 method"))
        segment.put(18, self._text(self._profile.equipment, "OBX-18 equipment"))
        if result.analysed is not None:
            segment.put(19, _moment(result.analysed))
        lines = [line for note in observation.notes for line in escape_lines(note, "NTE-3 note", self._profile.charset)]
        for position, line in enumerate(lines, start=1):
            group.segment("NTE").put(1, str(position)).put(2, "L").put(3, line)

    def _write_specimen(self, group: GroupBuilder) -> None:
        numbers = self._result.order
        segment = group.segment("SPM").put(1, "1")
        if "SPM-2" in self._profile.accession_fields:
            accession = self._text(numbers.accession, "SPM-2 accession number")
            issuer = self._text(numbers.accession_issuer, "SPM-2 accession issuer")
            segment.put(2, ("", f"{accession}&{issuer}".rstrip("&")))
        segment.put(4, self._code(self._profile.codes.specimen, "SPM-4 specimen type"))
        if self._result.collected is not None:
            segment.put(17, _moment(self._result.collected))


def _observations(result: OruResult, codes: ObservationCodes) -> tuple[_Observation, ...]:
    """The full set of observations; all are there in each version, so a later one overwrites each of an earlier."""
    counts = result.counts
    if counts is None:
        reason = (f"No result: {result.not_obtained}",)
        return (
            _Observation(codes.percent, "NM", notes=reason),
            _Observation(codes.spherocytes, "NM"),
            _Observation(codes.evaluated, "NM"),
            _Observation(codes.finding, "TX", notes=reason),
        )
    percent = "" if counts.spherocyte_percent is None else f"{counts.spherocyte_percent:.1f}"
    notes = (*counts.limitations, NOTE_DECISION_SUPPORT, NOTE_UNVERIFIED)
    return (
        _Observation(codes.percent, "NM", percent, _PERCENT, () if percent else ("No red cell was counted.",)),
        _Observation(codes.spherocytes, "NM", str(counts.spherocytes), _NUMBER),
        _Observation(codes.evaluated, "NM", str(counts.red_cells), _NUMBER),
        _Observation(codes.finding, "TX", finding_text(counts), notes=notes),
    )


def finding_text(counts: CaseCounts) -> str:
    """The result in one line, such as ``Spherocytes 62/1842 RBC (3.4 %), 95 % CI 2.6-4.3``."""
    text = f"Spherocytes {counts.spherocytes}/{counts.red_cells} RBC"
    if counts.spherocyte_percent is not None:
        text += f" ({counts.spherocyte_percent:.1f} %)"
    if counts.ci95 is not None:
        text += f", 95 % CI {counts.ci95[0]:.1f}-{counts.ci95[1]:.1f}"
    return text


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S%z")


def _bundle_name(bundle: BundleId) -> str:
    return f"{bundle.name}+sha256:{bundle.sha256[:12]}"
