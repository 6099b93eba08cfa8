"""What segments, fields and components are called, for people: hl7apy's tables, and our few words for codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from hl7apy import load_library
from hl7apy.exceptions import UnsupportedVersion

DEFAULT_VERSION = "2.5.1"

SEGMENTS: Mapping[str, str] = MappingProxyType(
    {
        "AL1": "Allergy", "BHS": "Batch header", "BTS": "Batch trailer", "CTD": "Contact", "CTI": "Clinical trial",
        "DG1": "Diagnosis", "DSC": "Continuation", "ERR": "Error", "EVN": "Event", "FHS": "File header",
        "FT1": "Transaction", "FTS": "File trailer", "IN1": "Insurance", "INV": "Inventory", "MRG": "Merged patient",
        "MSA": "Acknowledgement", "MSH": "Message header", "NK1": "Next of kin", "NTE": "Note", "OBR": "Request",
        "OBX": "Observation", "ORC": "Common order", "PD1": "Patient, additional", "PID": "Patient", "PV1": "Visit",
        "PV2": "Visit, additional", "SAC": "Container", "SFT": "Software", "SID": "Substance", "SPM": "Specimen",
        "TCD": "Test code", "TQ1": "Timing", "TQ2": "Timing, related",
    }
)  # fmt: skip

_STATUS = {
    "C": "corrected", "D": "deleted", "F": "final", "I": "specimen received", "O": "order received", "P": "preliminary",
    "R": "stored, not verified", "S": "partial", "U": "final, not sent again", "W": "wrong patient", "X": "not obtained",
}  # fmt: skip
_WHEN = {"AL": "always", "NE": "never", "ER": "on error", "SU": "on success"}
MEANINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "OBR-25": _STATUS,
        "OBX-11": _STATUS,
        "OBX-8": {"A": "abnormal", "N": "normal", "H": "high", "L": "low"},
        "OBX-2": {
            "CE": "code",
            "CWE": "code",
            "ED": "embedded data",
            "NM": "number",
            "RP": "pointer",
            "ST": "text",
            "TX": "text",
        },
        "MSA-1": {
            "AA": "accepted",
            "AE": "error",
            "AR": "rejected",
            "CA": "committed",
            "CE": "not committed: error",
            "CR": "not committed: rejected",
        },
        "MSH-11": {"P": "production", "T": "training", "D": "debugging"},
        "MSH-15": _WHEN,
        "MSH-16": _WHEN,
        "PID-8": {"A": "ambiguous", "F": "female", "M": "male", "N": "not applicable", "O": "other", "U": "unknown"},
        "PV1-2": {"E": "emergency", "I": "inpatient", "O": "outpatient", "U": "unknown"},
        "ORC-1": {
            "CA": "cancel",
            "NW": "new order",
            "RE": "results follow",
            "SC": "status changed",
            "XO": "changed order",
        },
    }
)
"""What codes mean, by field; those that people ask for."""


@dataclass(frozen=True, slots=True)
class FieldName:
    """A field: what it is called, its data type, and what its components are called."""

    name: str
    data_type: str
    components: tuple[str, ...]


@lru_cache(maxsize=256)
def field_names(version: str, segment: str) -> tuple[FieldName, ...]:
    """The fields of a segment, the first one first; none for a segment that the version does not have.

    Parameters
    ----------
    version : str
        MSH-12; one that is not known is read as 2.5.1.
    """
    found = _library(version).SEGMENTS.get(segment)
    if found is None or not found[1]:
        return ()
    return tuple(_field_name(entry[1]) for entry in found[1])


@lru_cache(maxsize=64)
def component_names(version: str, data_type: str) -> tuple[str, ...]:
    """What the components of a data type are called; none for a simple or unknown one."""
    return _components(_library(version).DATATYPES_STRUCTS.get(data_type) or ())


@lru_cache(maxsize=16)
def _library(version: str) -> Any:
    try:
        return load_library(version)
    except UnsupportedVersion:
        return load_library(DEFAULT_VERSION)


def _field_name(reference: Sequence[Any]) -> FieldName:
    components = _components(reference[1]) if reference[0] == "sequence" else ()
    return FieldName(_words(reference[3]), str(reference[2] or ""), components)


def _components(entries: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_words(entry[1][3]) for entry in entries)


def _words(name: str) -> str:
    """``DATE_TIME_OF_BIRTH`` in words: ``Date/time of birth``."""
    if name.startswith("SET_ID"):
        return "Set ID"
    words = [word if word in ("ID", "HL7") else word.lower() for word in name.removesuffix("_ST").split("_") if word]
    text = " ".join(words).replace("date time", "date/time")
    return text[:1].upper() + text[1:]
