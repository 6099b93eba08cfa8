"""From a pydicom data set to a `Header`; runs in the sandbox only."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from integrations.dicom.header import Header, Issued, Patient, Pixels, Specimen
from sphero_core.errors import DamagedImage, UnsupportedImage

LONGEST = 64  # characters of SH, LO and of UIDs (PS3.5 section 6.2)
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", re.ASCII)
_DATE = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)  # DA, TM, SH: PS3.5 section 6.2
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", re.ASCII)
_SHORT = re.compile(r"[^\\]{1,16}")
_DATE_TIME = re.compile(r"(\d{8})(\d{2})?(\d{2})?(\d{2})?(?:\.\d+)?([+-]\d{4})?", re.ASCII)


def read_header(data_set: Dataset, transfer_syntax_uid: str) -> Header:
    """Read what we want to know of an object.

    Raises
    ------
    DamagedImage, UnsupportedImage
        Something needed is missing or cannot be used; the element is named, never its value.
    """
    spacing = _spacing(data_set)
    return Header(
        sop_class_uid=_needed_uid(data_set, "SOPClassUID"),
        sop_instance_uid=_needed_uid(data_set, "SOPInstanceUID"),
        transfer_syntax_uid=transfer_syntax_uid,
        study_uid=_needed_uid(data_set, "StudyInstanceUID"),
        series_uid=_needed_uid(data_set, "SeriesInstanceUID"),
        study_date=_formed(data_set, "StudyDate", _DATE),
        study_time=_formed(data_set, "StudyTime", _TIME),
        study_id=_formed(data_set, "StudyID", _SHORT),
        frame_of_reference_uid=_uid(data_set, "FrameOfReferenceUID"),
        modality=_text(data_set, "Modality"),
        pixels=_pixels(data_set),
        accession=_identifier(data_set, "AccessionNumber", "IssuerOfAccessionNumberSequence"),
        container=_identifier(data_set, "ContainerIdentifier", "IssuerOfTheContainerIdentifierSequence"),
        specimens=tuple(_specimens(data_set)),
        patient=_patient(data_set),
        acquired=_acquired(data_set),
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
        pixel_aspect=_aspect(data_set, spacing),
        objective_power=_objective(data_set),
        manufacturer=_text(data_set, "Manufacturer"),
        model=_text(data_set, "ManufacturerModelName"),
        serial=_text(data_set, "DeviceSerialNumber"),
    )


def items(data_set: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is missing or empty."""
    value = data_set.get(keyword)
    return list(value) if value else []


# --------------------------------------------------------------------------------------------------------------- values
def _text(data_set: Dataset, keyword: str) -> str | None:
    value = data_set.get(keyword)
    if value is None:
        return None
    if isinstance(value, MultiValue):
        raise UnsupportedImage(f"{keyword} of the DICOM object holds several values: correct it at the sender.")
    text = str(value).strip(" \0")
    if len(text) > LONGEST or not text.isprintable():
        raise UnsupportedImage(
            f"{keyword} of the DICOM object holds control characters or more than {LONGEST} of them: "
            "correct it at the sender."
        )
    return text or None


def _formed(data_set: Dataset, keyword: str, form: re.Pattern[str]) -> str | None:
    """A text of this form; what has another is of no use to us, and no reason to refuse the image."""
    value = data_set.get(keyword)
    text = "" if value is None or isinstance(value, MultiValue) else str(value).strip(" \0")
    return text if form.fullmatch(text) and text.isprintable() else None


def _uid(data_set: Dataset, keyword: str) -> str | None:
    text = _text(data_set, keyword)
    if text is not None and not _UID.fullmatch(text):
        raise DamagedImage(f"{keyword} of the DICOM object is no UID (PS3.5 section 9.1): correct it at the sender.")
    return text


def _needed_uid(data_set: Dataset, keyword: str) -> str:
    text = _uid(data_set, keyword)
    if text is None:
        raise DamagedImage(f"{keyword} is missing in the DICOM object: it cannot be told from others; send it anew.")
    return text


def _number(data_set: Dataset, keyword: str, default: int | None = None) -> int:
    value = data_set.get(keyword)
    if value is None or value == "":
        if default is None:
            raise DamagedImage(f"{keyword} is missing in the DICOM object: its pixels cannot be read; send it anew.")
        return default
    return int(value)


def _measure(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) and number > 0 else None


# --------------------------------------------------------------------------------------------------------- identifiers
def _identifier(data_set: Dataset, keyword: str, issuer_sequence: str) -> Issued | None:
    value = _text(data_set, keyword)
    return None if value is None else Issued(value, _issuer(items(data_set, issuer_sequence)))


def _issuer(designators: list[Dataset]) -> str | None:
    """Namespace or else universal identifier of a hierarchic designator (PS3.3 table 10-17)."""
    for designator in designators:
        named = _text(designator, "LocalNamespaceEntityID") or _text(designator, "UniversalEntityID")
        if named is not None:
            return named
    return None


def _specimens(data_set: Dataset) -> Iterator[Specimen]:
    for one in items(data_set, "SpecimenDescriptionSequence"):
        identifier = _identifier(one, "SpecimenIdentifier", "IssuerOfTheSpecimenIdentifierSequence")
        uid = _uid(one, "SpecimenUID")
        if identifier is not None or uid is not None:
            yield Specimen(identifier, uid)


def _patient(data_set: Dataset) -> Patient:
    value = _text(data_set, "PatientID")
    qualifiers = items(data_set, "IssuerOfPatientIDQualifiersSequence")
    issuer = _text(data_set, "IssuerOfPatientID") or _issuer(qualifiers)
    name = data_set.get("PatientName")
    born = _text(data_set, "PatientBirthDate") or ""
    sex = _text(data_set, "PatientSex")
    return Patient(
        identifier=None if value is None else Issued(value, issuer),
        family=_name_part(name, "family_name"),
        given=_name_part(name, "given_name"),
        birth_date=f"{born[:4]}-{born[4:6]}-{born[6:]}" if re.fullmatch(r"\d{8}", born, re.ASCII) else None,
        sex=sex if sex in ("M", "F", "O") else None,
    )


def _name_part(name: Any, part: str) -> str | None:
    text = str(getattr(name, part, "") or "").strip()
    if not text.isprintable():
        raise UnsupportedImage("PatientName of the DICOM object holds control characters: correct it at the sender.")
    return text[:LONGEST] or None


# ------------------------------------------------------------------------------------------------------ pixels, scale
def _pixels(data_set: Dataset) -> Pixels:
    return Pixels(
        rows=_number(data_set, "Rows"),
        columns=_number(data_set, "Columns"),
        frames=_number(data_set, "NumberOfFrames", 1),
        samples=_number(data_set, "SamplesPerPixel"),
        photometric=_text(data_set, "PhotometricInterpretation") or "",
        bits_allocated=_number(data_set, "BitsAllocated"),
        bits_stored=_number(data_set, "BitsStored"),
        signed=_number(data_set, "PixelRepresentation", 0) == 1,
    )


def _spacing(data_set: Dataset) -> tuple[float | None, float | None]:
    """Between rows and between columns, in millimetres; of a whole-slide object from its Pixel Measures."""
    shared = items(data_set, "SharedFunctionalGroupsSequence")
    places = [data_set, *(measures for one in shared for measures in items(one, "PixelMeasuresSequence"))]
    for place in places:
        value = place.get("PixelSpacing")
        if value is not None and isinstance(value, MultiValue) and len(value) == 2:
            rows, columns = _measure(value[0]), _measure(value[1])
            if rows is not None and columns is not None:
                return rows, columns
    return None, None


def _aspect(data_set: Dataset, spacing: tuple[float | None, float | None]) -> float:
    if spacing[0] is not None and spacing[1] is not None:
        return spacing[1] / spacing[0]
    value = data_set.get("PixelAspectRatio")  # vertical over horizontal (PS3.3 C.7.6.3.1.7)
    if value is None or not isinstance(value, MultiValue) or len(value) != 2:
        return 1.0
    vertical, horizontal = _measure(value[0]), _measure(value[1])
    return 1.0 if vertical is None or horizontal is None else horizontal / vertical


def _objective(data_set: Dataset) -> float | None:
    for place in (data_set, *items(data_set, "OpticalPathSequence")):
        value = place.get("ObjectiveLensPower")
        if value is not None and value != "":
            return _measure(value)
    return None


def _acquired(data_set: Dataset) -> str | None:
    told = _text(data_set, "AcquisitionDateTime")
    for kind in ("Acquisition", "Content"):
        day = _text(data_set, f"{kind}Date")
        told = told or (day and day + (_text(data_set, f"{kind}Time") or ""))
    found = _DATE_TIME.fullmatch(told or "")
    if found is None:
        return None
    zone = found[5] or _text(data_set, "TimezoneOffsetFromUTC") or ""
    try:
        moment = datetime.strptime(found[1] + "".join(part or "00" for part in found.groups()[1:4]), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
    zone = f"{zone[:3]}:{zone[3:]}" if re.fullmatch(r"[+-]\d{4}", zone, re.ASCII) else ""
    return moment.isoformat() + zone
