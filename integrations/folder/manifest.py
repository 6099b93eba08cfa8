"""`case.json`: what a laboratory knows about a case beside its images.

Everything in it is optional. It is written by hand or by a script of the laboratory, so a mistake must be seen and not
guessed at: an unknown key, a key that stands twice, or a value of the wrong kind is an error, and the case is held. The
error names the key, never the value, which may be personal data.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import unicodedata
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from integrations.errors import ManifestError
from integrations.folder.source import SeenFile, open_source, source_errors

MAX_BYTES = 65_536
MAX_ACCESSION = 64  # characters; HL7 EI.1 takes more, no laboratory does

_ISO_8601 = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)


def _printable(text: str) -> str:
    clean = unicodedata.normalize("NFC", text).strip()
    if not clean:
        raise ValueError("must not be empty; leave the key out instead")
    if not clean.isprintable():
        raise ValueError("must hold printable characters only, no line breaks or control characters")
    return clean


def _iso_8601(value: object) -> object:
    if not isinstance(value, str) or not _ISO_8601.fullmatch(value):
        raise ValueError('must be a text such as "2025-03-31" or "2025-03-31T14:05:00+02:00" (ISO 8601)')
    return date.fromisoformat(value) if "T" not in value else datetime.fromisoformat(value)


Text = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Accession = Annotated[str, Field(max_length=MAX_ACCESSION), AfterValidator(_printable)]


class _Part(BaseModel):
    """Strict, frozen, and silent about its content."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [("keys", sorted(self.model_fields_set))]


class ManifestPatient(_Part):
    """The patient as the laboratory names them; all optional.

    Attributes
    ----------
    id, issuer : str or None
        Patient identifier and the authority that assigned it.
    family, given : str or None
    birth_date : date or None
    sex : str or None
        HL7 table 0001: F, M, O other, U unknown, A ambiguous, N not applicable.
    """

    id: Text | None = None
    issuer: Text | None = None
    family: Text | None = None
    given: Text | None = None
    birth_date: Annotated[date, BeforeValidator(_iso_8601)] | None = None
    sex: Literal["F", "M", "O", "U", "A", "N"] | None = None


class Manifest(_Part):
    """The content of a `case.json`.

    Attributes
    ----------
    accession : str or None
        Takes the place of the folder's name.
    accession_issuer, placer_order, filler_order : str or None
    patient : ManifestPatient or None
    collected : datetime, date or None
        When the specimen was taken; a time without offset is meant in the site's time zone.
    expected_fields : int or None
        The case is complete with so many fields.
    um_per_pixel : float or None
        Micrometres per pixel after un-stretching.
    pixel_aspect : float or None
        Display width over height of one stored pixel.
    stain : str or None
    """

    accession: Accession | None = None
    accession_issuer: Text | None = None
    placer_order: Text | None = None
    filler_order: Text | None = None
    patient: ManifestPatient | None = None
    collected: Annotated[datetime | date, BeforeValidator(_iso_8601)] | None = None
    expected_fields: Annotated[int, Field(ge=1, le=10_000)] | None = None
    um_per_pixel: Annotated[float, Field(gt=0.005, lt=5.0)] | None = None
    pixel_aspect: Annotated[float, Field(ge=0.2, le=5.0)] | None = None
    stain: Text | None = None


def read_manifest(incoming: Path, file: SeenFile) -> Manifest:
    """Read a case's `case.json`.

    Raises
    ------
    ManifestError
    SourceGone, SourceChanged, SourceUnreadable, SourceRefused
    """
    if file.size > MAX_BYTES:
        raise ManifestError(f"case.json has {file.size:,} bytes, more than the {MAX_BYTES:,} that are read.")
    with open_source(incoming, file) as descriptor, source_errors():
        data = b""
        while chunk := os.read(descriptor, MAX_BYTES + 1 - len(data)):
            data += chunk
    return parse_manifest(data)


def parse_manifest(data: bytes) -> Manifest:
    """Read the bytes of a `case.json` (UTF-8, with or without a byte order mark).

    Raises
    ------
    ManifestError
        Names every wrong key, and no value.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError(f"case.json has more than the {MAX_BYTES:,} bytes that are read.")
    value = _json(data)
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        problems = [_problem(item["loc"], item["type"], item["msg"]) for item in error.errors(include_input=False)]
    raise ManifestError("case.json: " + "; ".join(problems) + ".")


def accession_from_folder(name: str) -> str:
    """The accession number that a case's folder names, trimmed and in Unicode's composed form.

    Raises
    ------
    ManifestError
        It is empty, longer than `MAX_ACCESSION`, or not printable.
    """
    clean = unicodedata.normalize("NFC", name).strip()
    if clean and clean.isprintable() and len(clean) <= MAX_ACCESSION:
        return clean
    raise ManifestError(
        f"The case's folder has no name that can be an accession number (1 to {MAX_ACCESSION} printable characters): "
        "rename it, or give the accession in its case.json."
    )


def _json(data: bytes) -> object:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        position = error.start
    else:
        return _parsed(text)
    raise ManifestError(f"case.json is not UTF-8 text (byte {position + 1}): save it as UTF-8.")


def _parsed(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        problem = "it is nested too deep"
    raise ManifestError(f"case.json is not valid JSON ({problem}).")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    doubled = next((key for key in keys if keys.count(key) > 1), None)
    if doubled is not None:
        raise ManifestError(f"case.json: {_shown(doubled)} stands twice.")
    return dict(pairs)


def _constant(_name: str) -> object:
    raise ManifestError("case.json is not valid JSON: NaN and Infinity are no numbers there.")


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    if kind in ("model_type", "dict_type") and not location:
        return "it must hold one object { ... }"
    if kind == "extra_forbidden":
        model = ManifestPatient if location[0] == "patient" and len(location) > 1 else Manifest
        near = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "known are " + ", ".join(model.model_fields)
        return f"unknown key {_shown(str(location[-1]))}, {hint}"
    place = ".".join(str(part) for part in location if str(part) in _KNOWN_KEYS)
    return f"{place} {_plain(message)}"


_KNOWN_KEYS = frozenset(Manifest.model_fields) | frozenset(ManifestPatient.model_fields)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should", "should").replace("String should", "should")


def _shown(key: str) -> str:
    """A key as it may be quoted: a stranger's key may be anything, even a value gone astray."""
    return f'"{key}"' if re.fullmatch(r"[A-Za-z_][A-Za-z_ .-]{0,29}", key) else "(not shown)"
