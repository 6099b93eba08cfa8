"""What differs from one receiving system to the next: names, character set, codes, and what its answers mean.

Verified codes: LOINC 58408-6, 6742-1; SNOMED CT 119297000. No LOINC code was found for a
spherocyte percentage, a spherocyte count or the number of red cells evaluated: these stand in the local system `99SPH`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from integrations.errors import ProfileError
from integrations.hl7.ack import AckPolicy
from integrations.hl7.escape import Charset

LOCAL_SYSTEM = "99SPH"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: identifier, text and the coding system's name in HL7 table 0396."""

    identifier: str
    text: str
    system: str = LOCAL_SYSTEM


@dataclass(frozen=True, slots=True)
class ObservationCodes:
    """The codes of what is reported; a site may map each to its own."""

    panel: Code = Code("58408-6", "Erythrocyte morphology panel - Blood", "LN")
    percent: Code = Code("SPHPCT", "Spherocytes per 100 erythrocytes")
    spherocytes: Code = Code("SPHCNT", "Spherocytes counted")
    evaluated: Code = Code("RBCEVAL", "Erythrocytes evaluated")
    finding: Code = Code("6742-1", "Erythrocyte morphology finding [Identifier] in Blood", "LN")
    specimen: Code = Code("119297000", "Blood specimen", "SCT")
    method: Code = Code("MRCNN", "Mask R-CNN RBC segmentation")


@dataclass(frozen=True, slots=True)
class Profile:
    """How messages for one destination are written, and how its acknowledgements are read.

    Attributes
    ----------
    sending_application, sending_facility, receiving_application, receiving_facility : str
        MSH-3 to MSH-6.
    processing_id : str
        MSH-11: ``P`` production, ``T`` training, ``D`` debugging.
    charset : Charset
        MSH-18, and how the bytes are encoded.
    equipment : str
        OBX-18, the equipment instance.
    identifier_type : str
        PID-3.5, HL7 table 0203; ``MR`` is a medical record number.
    unverified_status : str
        OBR-25 and OBX-11 of a result no person has verified: ``P`` preliminary, or ``R`` stored, not yet verified.
    accession_fields : tuple of str
        Where the accession number stands besides OBR-3: any of ``SPM-2``, ``OBR-18``. OBR-3 has the filler number of
        the order, or, without one, the accession number.
    codes : ObservationCodes
    ack_policy : AckPolicy

    Raises
    ------
    ProfileError
        For a value that is not allowed; the key is named.
    """

    sending_application: str = "SPHERO"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: str = "P"
    charset: Charset = Charset.UTF_8
    equipment: str = "SPHERO-01"
    identifier_type: str = "MR"
    unverified_status: str = "P"
    accession_fields: tuple[str, ...] = ("SPM-2",)
    codes: ObservationCodes = field(default_factory=ObservationCodes)
    ack_policy: AckPolicy = field(default_factory=AckPolicy)

    def __post_init__(self) -> None:
        _one_of("processing_id", self.processing_id, ("P", "T", "D"))
        _one_of("unverified_status", self.unverified_status, ("P", "R"))
        for place in self.accession_fields:
            _one_of("accession_fields", place, ("SPM-2", "OBR-18"))
        if not self.sending_application.strip():
            raise ProfileError("the profile key sending_application is empty; name this system as the LIS knows it")


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ProfileError(f"the profile key {key} must be one of {', '.join(allowed)}, not {value!r}")
