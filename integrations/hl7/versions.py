"""What differs between the versions of HL7 v2 that are sent: segments, fields, data types, codes.

Sources: chapters 2, 3, 4 and 7 of HL7 2.3, 2.3.1, 2.4, 2.5 and 2.5.1. SFT and SPM, and CWE as a type of OBX-5, begin with
2.5 (before, the specimen stands in OBR-15); OBX-18, OBX-19 and MSH-21 with 2.4; the message structure in MSH-9, and the
status W of table 0085, with 2.3.1; the sexes A and N of table 0001 with 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class MessageType(StrEnum):
    """The messages that tell a result; values as MSH-9 begins."""

    ORU_R01 = "ORU^R01"
    OUL_R22 = "OUL^R22"


class Version(StrEnum):
    """MSH-12."""

    V2_3 = "2.3"
    V2_3_1 = "2.3.1"
    V2_4 = "2.4"
    V2_5 = "2.5"
    V2_5_1 = "2.5.1"


_SEXES = MappingProxyType({sex: sex for sex in "AFMNOU"})
_OLD_SEXES = MappingProxyType({**_SEXES, "A": "O", "N": "U"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version, as far as our messages touch it.

    Attributes
    ----------
    version : Version
    messages : tuple of MessageType
        Which of them the version has.
    has_software, has_specimen : bool
        SFT; SPM.
    has_equipment : bool
        OBX-18 and OBX-19.
    has_profile_id : bool
        MSH-21.
    has_structure : bool
        MSH-9.3.
    coded : str
        Data type of a coded OBX-5.
    wrong_patient : str
        OBX-11 of what was told of the wrong patient (table 0085).
    sexes : mapping of str to str
        What stands in PID-8 for each value of today's table 0001.
    patient_result, oul_result : str
        What hl7apy calls the group around a patient in ORU_R01, and around an OBX in OUL_R22.
    """

    version: Version
    messages: tuple[MessageType, ...] = tuple(MessageType)
    has_software: bool = True
    has_specimen: bool = True
    has_equipment: bool = True
    has_profile_id: bool = True
    has_structure: bool = True
    coded: str = "CWE"
    wrong_patient: str = "W"
    sexes: Mapping[str, str] = field(default_factory=lambda: _SEXES)
    patient_result: str = "ORU_R01_PATIENT_RESULT"
    oul_result: str = "OUL_R22_RESULT"

    def structure(self, message: MessageType) -> str:
        """MSH-9 of a message, such as ``ORU^R01^ORU_R01``."""
        return f"{message}^{message.replace('^', '_')}" if self.has_structure else str(message)


DIALECTS: Mapping[Version, Dialect] = MappingProxyType(
    {
        Version.V2_3: Dialect(
            Version.V2_3,
            (MessageType.ORU_R01,),
            has_software=False,
            has_specimen=False,
            has_equipment=False,
            has_profile_id=False,
            has_structure=False,
            coded="CE",
            wrong_patient="D",  # table 0085 of 2.3 has no W: the results are deleted
            sexes=_OLD_SEXES,
            patient_result="ORU_R01_RESPONSE",
        ),
        Version.V2_3_1: Dialect(
            Version.V2_3_1,
            (MessageType.ORU_R01,),
            has_software=False,
            has_specimen=False,
            has_equipment=False,
            has_profile_id=False,
            coded="CE",
            sexes=_OLD_SEXES,
        ),
        Version.V2_4: Dialect(Version.V2_4, (MessageType.ORU_R01,), has_software=False, has_specimen=False, coded="CE"),
        Version.V2_5: Dialect(Version.V2_5),
        Version.V2_5_1: Dialect(Version.V2_5_1, oul_result="OUL_R22_OBXTCDSIDNTE_SUPPGRP"),
    }
)
