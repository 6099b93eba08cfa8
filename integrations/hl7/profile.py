"""What differs from one receiving system to the next: names, version, codes, numbers, pictures, what its answers mean.

`profile_file` reads a profile from a TOML file; these are the values it comes to, with our defaults.

Verified codes: LOINC 802-9, 58408-6, 6742-1, 72170-4, 11502-2; SNOMED CT 260373001, 260415000, 119297000. No LOINC code was found
for a spherocyte percentage, a spherocyte count or the number of red cells evaluated: these stand in the local system
`99SPH`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from integrations.errors import ProfileError
from integrations.hl7.ack import AckCode, AckPolicy, Decision
from integrations.hl7.conformance import MAX_MESSAGE_BYTES
from integrations.hl7.escape import Charset
from integrations.hl7.versions import DIALECTS, Dialect, MessageType, Version

LOCAL_SYSTEM = "99SPH"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: identifier, text and the coding system's name in HL7 table 0396."""

    identifier: str
    text: str
    system: str = LOCAL_SYSTEM


class Value(StrEnum):
    """What an OBX may tell."""

    PRESENCE = "presence"
    PERCENT = "percent"
    SPHEROCYTES = "spherocytes"
    EVALUATED = "evaluated"
    FINDING = "finding"
    PICTURE = "picture"
    REPORT = "report"


ALWAYS_TOLD = (Value.PERCENT, Value.SPHEROCYTES, Value.EVALUATED, Value.FINDING)
"""What each result has: a presence needs a grade; pictures and the report leave where the profile sends them."""

UNITS: Mapping[Value, Code] = MappingProxyType(
    {
        Value.PERCENT: Code("%", "percent", "UCUM"),
        Value.SPHEROCYTES: Code("{#}", "count", "UCUM"),
        Value.EVALUATED: Code("{#}", "count", "UCUM"),
    }
)


@dataclass(frozen=True, slots=True)
class Observation:
    """One OBX of the message: what it tells, under which code, in which unit (numbers only)."""

    value: Value
    code: Code
    unit: Code | None = None


OBSERVATIONS = (
    Observation(Value.PRESENCE, Code("802-9", "Spherocytes [Presence] in Blood by Light microscopy", "LN")),
    Observation(Value.PERCENT, Code("SPHPCT", "Spherocytes per 100 erythrocytes"), UNITS[Value.PERCENT]),
    Observation(Value.SPHEROCYTES, Code("SPHCNT", "Spherocytes counted"), UNITS[Value.SPHEROCYTES]),
    Observation(Value.EVALUATED, Code("RBCEVAL", "Erythrocytes evaluated"), UNITS[Value.EVALUATED]),
    Observation(Value.FINDING, Code("6742-1", "Erythrocyte morphology finding [Identifier] in Blood", "LN")),
    Observation(Value.PICTURE, Code("72170-4", "Photographic image", "LN")),
    Observation(Value.REPORT, Code("11502-2", "Laboratory report", "LN")),
)

GRADES: Mapping[str, Code] = MappingProxyType({grade: Code(grade, grade) for grade in ("0", "1+", "2+", "3+", "4+")})


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes that are no observation: the panel (OBR-4), the method, the specimen, and coded results."""

    panel: Code = Code("58408-6", "Erythrocyte morphology panel - Blood", "LN")
    method: Code = Code("MRCNN", "Mask R-CNN RBC segmentation")
    specimen: Code = Code("119297000", "Blood specimen", "SCT")
    detected: Code = Code("260373001", "Detected", "SCT")
    not_detected: Code = Code("260415000", "Not detected", "SCT")
    grade: Mapping[str, Code] = field(default_factory=lambda: GRADES)


class SendPictures(StrEnum):
    """How pictures of the fields, and the report for people, leave."""

    NONE = "none"
    EMBEDDED = "embedded"
    POINTER = "pointer"


@dataclass(frozen=True, slots=True)
class PictureChoice:
    """Which pictures leave.

    Attributes
    ----------
    send : SendPictures
        Embedded (ED, JPEG in Base64), by pointer (RP, an address of our HTTP port), or not at all.
    most : int
        Pictures in a message; those of the fields with the most spherocytes.
    max_bytes : int
        Of one JPEG; larger ones are made smaller.
    url : str
        What a pointer begins with, as the receiver reaches it; empty for the address in `[http]`.
    """

    send: SendPictures = SendPictures.NONE
    most: int = 4
    max_bytes: int = 150_000
    url: str = ""


@dataclass(frozen=True, slots=True)
class ReportChoice:
    """How the report for people (PDF) leaves.

    Attributes
    ----------
    send : SendPictures
        Embedded (ED, Base64), by pointer (RP, an address of our HTTP port, which asks who reads), or not at all.
    type_of_data, subtype : str
        ED.2 and ED.3, or RP.3 and RP.4; receivers differ (HL7 tables 0191 and 0291).
    max_bytes : int
        Of the PDF; a larger one is left out, and the message says so.
    url : str
        What a pointer begins with, as the receiver reaches it; empty for the address in `[http]`.
    """

    send: SendPictures = SendPictures.NONE
    type_of_data: str = "AP"
    subtype: str = "PDF"
    max_bytes: int = 3_000_000
    url: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Which answers are asked for, and what they mean.

    Attributes
    ----------
    accept, application : str
        MSH-15 and MSH-16 (table 0155). Both empty: original mode, where one answer (AA, AE, AR) says everything.
    meaning : mapping of AckCode to Decision
        Where the receiver means something else than usual.
    """

    accept: str = ""
    application: str = ""
    meaning: Mapping[AckCode, Decision] = field(default_factory=dict)


ACCEPT = ("", "AL", "NE")
APPLICATION = ("", "AL", "NE", "ER", "SU")
MEANINGS = (Decision.DELIVERED, Decision.PARK, Decision.RETRY, Decision.RESEND)
PROCESSING_IDS = ("P", "T", "D")
UNVERIFIED = ("P", "R")
ACCESSION_FIELDS = ("OBR-3", "OBR-18", "SPM-2")
PLACER = ("echo", "none")


@dataclass(frozen=True, slots=True)
class Profile:
    """How messages for one destination are written, and how its acknowledgements are read.

    Attributes
    ----------
    name : str
        For people.
    message : MessageType
    version : Version
    charset : Charset
        MSH-18, and how the bytes are encoded.
    time_zone : bool
        Whether times carry their offset to UTC.
    sending_application, sending_facility, receiving_application, receiving_facility : str
        MSH-3 to MSH-6.
    processing_id : str
        MSH-11: ``P`` production, ``T`` training, ``D`` debugging.
    profile_id : tuple of str
        MSH-21, its components.
    equipment : str
        OBX-18, the equipment instance.
    identifier_type : str
        PID-3.5, HL7 table 0203; ``MR`` is a medical record number.
    patient_class : str
        PV1-2; ``U`` where it is not known.
    placer : str
        ``echo`` the placer's order number (OBR-2, ORC-2), or ``none``.
    accession_fields : tuple of str
        Where the accession number stands, any of `ACCESSION_FIELDS`. Without ``OBR-3``, that field has the filler number
        of the order, or, without one, the accession number.
    unverified_status : str
        OBR-25 and OBX-11 of a result no person has verified: ``P`` preliminary, or ``R`` stored, not yet verified.
    codes : Codes
    observations : tuple of Observation
        Which OBX, in their order.
    pictures : PictureChoice
    acknowledgement : Acknowledgement

    Raises
    ------
    ProfileError
        For a value that is not allowed; the key is named.
    """

    name: str = "default"
    message: MessageType = MessageType.ORU_R01
    version: Version = Version.V2_5_1
    charset: Charset = Charset.UTF_8
    time_zone: bool = True
    sending_application: str = "SPHERO"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: str = "P"
    profile_id: tuple[str, ...] = ()
    equipment: str = "SPHERO-01"
    identifier_type: str = "MR"
    patient_class: str = "U"
    placer: str = "echo"
    accession_fields: tuple[str, ...] = ("SPM-2",)
    unverified_status: str = "P"
    codes: Codes = field(default_factory=Codes)
    observations: tuple[Observation, ...] = OBSERVATIONS
    pictures: PictureChoice = field(default_factory=PictureChoice)
    report: ReportChoice = field(default_factory=ReportChoice)
    acknowledgement: Acknowledgement = field(default_factory=Acknowledgement)

    def __post_init__(self) -> None:
        _one_of("processing_id", self.processing_id, PROCESSING_IDS)
        _one_of("unverified_status", self.unverified_status, UNVERIFIED)
        _one_of("placer", self.placer, PLACER)
        for place in self.accession_fields:
            _one_of("accession_fields", place, ACCESSION_FIELDS)
        for key in ("sending_application", "identifier_type", "patient_class", "equipment"):
            if not getattr(self, key).strip():
                raise ProfileError(f"{key} is empty; it must be given")
        self._check_version()
        self._check_observations()
        self._check_pictures()
        self._check_acknowledgement()

    @property
    def dialect(self) -> Dialect:
        """What the version has."""
        return DIALECTS[self.version]

    @property
    def ack_policy(self) -> AckPolicy:
        """How answers are read."""
        return AckPolicy(
            wants_application_ack=self.acknowledgement.application == "AL", overrides=self.acknowledgement.meaning
        )

    def _check_version(self) -> None:
        if self.message not in self.dialect.messages:
            raise ProfileError(f"message {self.message} needs version 2.5 or 2.5.1, not {self.version}")
        if "SPM-2" in self.accession_fields and not self.dialect.has_specimen:
            raise ProfileError(
                f"accession_fields: SPM-2 needs version 2.5 or 2.5.1, not {self.version}; allowed are OBR-3, OBR-18"
            )
        if self.profile_id and not self.dialect.has_profile_id:
            raise ProfileError(f"profile_id (MSH-21) needs version 2.4 or later, not {self.version}")

    def _check_observations(self) -> None:
        values = [observation.value for observation in self.observations]
        if not set(values) & set(ALWAYS_TOLD):
            raise ProfileError(f"[[observation]]: at least one must have as value one of {', '.join(ALWAYS_TOLD)}")
        keys = [(each.code.identifier, each.code.system) for each in self.observations]
        for what, names in (("value", values), ("code", keys)):
            if len(set(names)) < len(names):
                raise ProfileError(f"[[observation]]: a {what} stands twice; each OBX has its own")

    def sends(self, value: Value) -> bool:
        """Whether an OBX of this value may be in a message."""
        choice = {Value.PICTURE: self.pictures.send, Value.REPORT: self.report.send}.get(value)
        return choice is not SendPictures.NONE

    def _check_pictures(self) -> None:
        told = {observation.value for observation in self.observations}
        for table, value in (("pictures", Value.PICTURE), ("report", Value.REPORT)):
            if self.sends(value) and value not in told:
                raise ProfileError(f'[{table}] send: there is no [[observation]] with value "{value}" to send it in')
        for table, most in (
            ("pictures] most times", self.pictures.most * self.pictures.max_bytes),
            ("report]", self.report.max_bytes),
        ):
            if most * 4 // 3 > MAX_MESSAGE_BYTES // 2:
                raise ProfileError(f"[{table} max_bytes, in Base64, must stay below {MAX_MESSAGE_BYTES // 2} bytes")

    def _check_acknowledgement(self) -> None:
        asked = self.acknowledgement
        _one_of("[acknowledgement] accept", asked.accept, ACCEPT)
        _one_of("[acknowledgement] application", asked.application, APPLICATION)
        if (asked.accept or asked.application) and "AL" not in (asked.accept, asked.application):
            raise ProfileError(
                "[acknowledgement] accept or application must be AL: without any answer nobody knows what arrived"
            )


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ProfileError(f"{key}: must be one of {', '.join(repr(each) for each in allowed)}")
