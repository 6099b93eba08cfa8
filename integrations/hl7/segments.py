"""The segments that every result has, whatever message carries them."""

from __future__ import annotations

from datetime import datetime

from integrations.hl7.builder import GroupBuilder, MessageBuilder
from integrations.hl7.escape import Charset
from integrations.hl7.observations import PRODUCT, Row, Texts, rows_of, status_of
from integrations.hl7.profile import Profile
from integrations.hl7.result import Patient, ReportedResult
from sphero_core.types import BundleId

VENDOR = "Spheroflow"


class Segments:
    """Writes the segments of one result into the groups they are given.

    Parameters
    ----------
    result : ReportedResult
    patient : Patient
    profile : Profile
    """

    def __init__(self, result: ReportedResult, patient: Patient, profile: Profile) -> None:
        self._result = result
        self._patient = patient
        self._profile = profile
        self._dialect = profile.dialect
        self._texts = Texts(profile.charset)
        self._status = status_of(result, profile)[0]
        self.rows = rows_of(result, profile, self._texts)

    def header(self, message: MessageBuilder) -> None:
        """MSH and, where the version has it, SFT."""
        profile, one = self._profile, self._texts.one
        header = message.header
        header.put(3, one(profile.sending_application, "MSH-3 sending application"))
        header.put(4, one(profile.sending_facility, "MSH-4 sending facility"))
        header.put(5, one(profile.receiving_application, "MSH-5 receiving application"))
        header.put(6, one(profile.receiving_facility, "MSH-6 receiving facility"))
        header.put(7, self._moment(self._result.reported))
        header.put(9, self._dialect.structure(profile.message)).put(10, "0")  # stamped when the rest is known
        header.put(11, profile.processing_id)
        header.put(15, profile.acknowledgement.accept).put(16, profile.acknowledgement.application)
        if profile.charset is not Charset.ASCII:
            header.put(18, profile.charset.value)
        header.put(21, tuple(one(part, "MSH-21 message profile") for part in profile.profile_id))
        if self._dialect.has_software:
            bundle = self._result.bundle
            software = message.segment("SFT").put(1, VENDOR)
            software.put(2, one(self._result.software_version, "SFT-2 software version")).put(3, PRODUCT)
            software.put(4, one(_bundle_name(bundle) if bundle else "no model", "SFT-4 model bundle"))

    def person(self, group: GroupBuilder) -> None:
        """PID."""
        patient, one = self._patient, self._texts.one
        identifier = one(patient.identifier, "PID-3 patient identifier")
        authority = one(patient.authority, "PID-3 assigning authority")
        name = (one(patient.family, "PID-5 family name"), one(patient.given, "PID-5 given name"))
        segment = group.segment("PID").put(1, "1")
        segment.put(3, (identifier, "", "", authority, one(self._profile.identifier_type, "PID-3 type")))
        # PID-5 is required: a name nobody knows is said to be unspecified (PID-5.7, HL7 table 0200).
        segment.put(5, name if any(name) else ("", "", "", "", "", "", "U"))
        segment.put(7, patient.birth_date.strftime("%Y%m%d") if patient.birth_date else "")
        segment.put(8, self._dialect.sexes.get(patient.sex, ""))

    def visit(self, group: GroupBuilder) -> None:
        """PV1."""
        group.segment("PV1").put(1, "1").put(2, self._texts.one(self._profile.patient_class, "PV1-2 patient class"))

    def common_order(self, group: GroupBuilder) -> None:
        """ORC."""
        placer, filler = self._numbers()
        group.segment("ORC").put(1, "RE").put(2, placer).put(3, filler)

    def request(self, group: GroupBuilder) -> None:
        """OBR."""
        placer, filler = self._numbers()
        codes, one = self._profile.codes, self._texts.one
        request = group.segment("OBR").put(1, "1").put(2, placer).put(3, filler)
        request.put(4, self._texts.code(codes.panel, "OBR-4 panel"))
        if self._result.collected is not None:
            request.put(7, self._moment(self._result.collected))
        if not self._dialect.has_specimen:
            request.put(15, "&".join(self._texts.code(codes.specimen, "OBR-15 specimen source")))
        if "OBR-18" in self._profile.accession_fields:
            request.put(18, one(self._result.order.accession, "OBR-18 accession number"))
        request.put(22, self._moment(self._result.reported)).put(24, "HM").put(25, self._status)
        if (reviewer := self._result.reviewer) is not None:
            family, given = one(reviewer.family, "OBR-32 family name"), one(reviewer.given, "OBR-32 given name")
            parts = [one(reviewer.identifier, "OBR-32 reviewer"), family, given, "", "", "", "", ""]
            request.put(32, "&".join([*parts, one(reviewer.authority, "OBR-32 authority")]).rstrip("&"))

    def observation(self, group: GroupBuilder, number: int, row: Row) -> None:
        """OBX with its NTE."""
        result, codes, one = self._result, self._profile.codes, self._texts.one
        segment = group.segment("OBX").put(1, str(number)).put(2, row.data_type)
        segment.put(3, self._texts.code(row.observation.code, "OBX-3 observation")).put(4, row.sub_id)
        if row.value:
            segment.put(5, row.value)
            if row.observation.unit is not None:
                segment.put(6, self._texts.code(row.observation.unit, "OBX-6 unit"))
        segment.put(8, row.abnormal).put(11, row.status)
        if result.collected is not None:
            segment.put(14, self._moment(result.collected))
        if (reviewer := result.reviewer) is not None:
            family, given = one(reviewer.family, "OBX-16 family name"), one(reviewer.given, "OBX-16 given name")
            parts = (one(reviewer.identifier, "OBX-16 reviewer"), family, given, "", "", "", "", "")
            segment.put(16, (*parts, one(reviewer.authority, "OBX-16 authority")))
        segment.put(17, self._texts.code(codes.method, "OBX-17 method"))
        if self._dialect.has_equipment:
            segment.put(18, one(self._profile.equipment, "OBX-18 equipment"))
            if result.analysed is not None:
                segment.put(19, self._moment(result.analysed))
        for position, line in enumerate(row.notes, start=1):
            group.segment("NTE").put(1, str(position)).put(2, "L").put(3, line)

    def specimen(self, group: GroupBuilder) -> None:
        """SPM."""
        numbers, one = self._result.order, self._texts.one
        segment = group.segment("SPM").put(1, "1")
        if "SPM-2" in self._profile.accession_fields:
            accession = one(numbers.accession, "SPM-2 accession number")
            issuer = one(numbers.accession_issuer, "SPM-2 accession issuer")
            segment.put(2, ("", f"{accession}&{issuer}".rstrip("&")))
        segment.put(4, self._texts.code(self._profile.codes.specimen, "SPM-4 specimen type"))
        if self._result.collected is not None:
            segment.put(17, self._moment(self._result.collected))

    def _numbers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """OBR-2 and OBR-3, which ORC repeats."""
        numbers, one = self._result.order, self._texts.one
        placer: tuple[str, ...] = ()
        if numbers.placer and self._profile.placer == "echo":
            issuer = (one(part, "OBR-2 placer's issuer") for part in numbers.placer_issuer)
            placer = (one(numbers.placer, "OBR-2 placer order number"), *issuer)
        if numbers.filler and "OBR-3" not in self._profile.accession_fields:
            issuer = (one(part, "OBR-3 filler's issuer") for part in numbers.filler_issuer)
            return placer, (one(numbers.filler, "OBR-3 filler order number"), *issuer)
        accession = one(numbers.accession, "OBR-3 accession number")
        return placer, (accession, one(numbers.accession_issuer, "OBR-3 accession issuer"))

    def _moment(self, moment: datetime) -> str:
        return moment.strftime("%Y%m%d%H%M%S%z" if self._profile.time_zone else "%Y%m%d%H%M%S")


def _bundle_name(bundle: BundleId) -> str:
    return f"{bundle.name}+sha256:{bundle.sha256[:12]}"
