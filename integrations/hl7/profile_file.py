"""Profiles as TOML files that a site edits.

A file needs only the keys that differ from the defaults; `profiles/default.toml` shows every key. Whatever is wrong is told
at once: the file, each key, and what is allowed there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integrations.errors import ProfileError
from integrations.hl7 import profile as values
from integrations.hl7.ack import AckCode, Decision
from integrations.hl7.escape import Charset
from integrations.hl7.profile import (
    UNITS,
    Acknowledgement,
    Codes,
    Observation,
    PictureChoice,
    Profile,
    ReportChoice,
    Value,
)
from integrations.hl7.profile_table import ProfileTable
from integrations.hl7.versions import DIALECTS, MessageType, Version

SHIPPED = Path(__file__).parent / "profiles"
SUFFIX = ".toml"
MAX_BYTES = 1024 * 1024


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with the program."""
    return tuple(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))


def profile_path(profile: str, folder: Path) -> Path:
    """Where a profile's file is: a shipped one by its name, a site's own by a path that ends in ``.toml``.

    Parameters
    ----------
    profile : str
        As it stands in the settings.
    folder : Path
        From which a relative path is meant.

    Raises
    ------
    ProfileError
        There is no shipped profile of that name.
    """
    if profile.endswith(SUFFIX):
        return folder / Path(profile).expanduser()
    if profile not in shipped_profiles():
        raise ProfileError(
            f"profile: {profile!r} is neither one of {', '.join(shipped_profiles())} nor a path ending in {SUFFIX}"
        )
    return SHIPPED / f"{profile}{SUFFIX}"


def load_profile(
    profile: str, folder: Path, *, sending_application: str = "SPHERO", sending_facility: str = ""
) -> Profile:
    """Read and check a profile.

    Parameters
    ----------
    profile, folder
        See `profile_path`.
    sending_application, sending_facility : str
        What stands in MSH-3 and MSH-4 where the profile leaves them empty.

    Raises
    ------
    ProfileError
        Names the file and every wrong key.
    """
    path = profile_path(profile, folder)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ProfileError(f"{path} has more than {MAX_BYTES} bytes; that is no profile")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ProfileError(f"{path} cannot be read ({reason}); copy a shipped profile there") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} is not valid TOML: {error}") from None
    return read_profile(content, path.stem, str(path), sending_application, sending_facility)


def read_profile(
    content: Mapping[str, Any],
    name: str,
    where: str,
    sending_application: str = "SPHERO",
    sending_facility: str = "",
) -> Profile:
    """Check the content of a profile's file; `where` names the file in errors.

    Raises
    ------
    ProfileError
    """
    problems: list[str] = []
    table = ProfileTable(content, "", problems)
    known = _read(table, name, sending_application, sending_facility)
    table.refuse_unknown()
    if problems:
        raise ProfileError(f"{where}: " + "; ".join(problems))
    try:
        return Profile(**known)
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from None


def _read(table: ProfileTable, name: str, sending_application: str, sending_facility: str) -> dict[str, Any]:
    version = table.word("version", Version, Version.V2_5_1)
    table.charset = table.word("charset", Charset, Charset.UTF_8)
    places = ("SPM-2",) if DIALECTS[version].has_specimen else ("OBR-18",)
    default = Profile()
    return {
        "name": name,
        "message": table.word("message", MessageType, MessageType.ORU_R01),
        "version": version,
        "charset": table.charset,
        "time_zone": table.flag("time_zone", default=True),
        "sending_application": table.text("sending_application", "") or sending_application,
        "sending_facility": table.text("sending_facility", "") or sending_facility,
        "receiving_application": table.text("receiving_application", ""),
        "receiving_facility": table.text("receiving_facility", ""),
        "processing_id": table.choice("processing_id", values.PROCESSING_IDS, "P"),
        "profile_id": table.texts("profile_id", ()),
        "equipment": table.text("equipment", default.equipment),
        "identifier_type": table.text("identifier_type", default.identifier_type),
        "patient_class": table.text("patient_class", default.patient_class),
        "placer": table.choice("placer", values.PLACER, "echo"),
        "accession_fields": table.texts("accession_fields", places, values.ACCESSION_FIELDS),
        "unverified_status": table.choice("unverified_status", values.UNVERIFIED, "P"),
        "acknowledgement": _acknowledgement(table.table("acknowledgement")),
        "pictures": _pictures(table.table("pictures")),
        "report": _report(table.table("report")),
        "codes": _codes(table.table("codes")),
        "observations": _observations(table),
    }


def _acknowledgement(table: ProfileTable) -> Acknowledgement:
    meaning = table.table("meaning")
    decisions = {
        AckCode(code): Decision(meaning.choice(code, tuple(values.MEANINGS), ""))
        for code in AckCode
        if meaning.choice(code, tuple(values.MEANINGS), "")
    }
    meaning.refuse_unknown(tuple(AckCode))
    asked = Acknowledgement(
        table.choice("accept", values.ACCEPT, ""),
        table.choice("application", values.APPLICATION, ""),
        decisions,
    )
    table.refuse_unknown()
    return asked


def _pictures(table: ProfileTable) -> PictureChoice:
    default = PictureChoice()
    choice = PictureChoice(
        table.word("send", values.SendPictures, default.send),
        table.number("most", default.most, 1, 50),
        table.number("max_bytes", default.max_bytes, 10_000, 4_000_000),
        _address(table, default.url),
    )
    table.refuse_unknown()
    return choice


def _report(table: ProfileTable) -> ReportChoice:
    default = ReportChoice()
    choice = ReportChoice(
        table.word("send", values.SendPictures, default.send),
        table.text("type", default.type_of_data),
        table.text("subtype", default.subtype),
        table.number("max_bytes", default.max_bytes, 100_000, 6_000_000),
        _address(table, default.url),
    )
    table.refuse_unknown()
    return choice


def _address(table: ProfileTable, default: str) -> str:
    url = table.text("url", default)
    if url and not url.startswith(("http://", "https://")):
        table.wrong("url", "must be empty or begin with http:// or https://")
    return url


def _codes(table: ProfileTable) -> Codes:
    default = Codes()
    names = ("panel", "method", "specimen", "detected", "not_detected")
    codes = {name: table.code(name, getattr(default, name)) for name in names}
    grades = table.table("grade")
    mapped = {grade: grades.code(grade, default.grade.get(grade)) for grade in (*default.grade, *grades.keys())}
    table.refuse_unknown()
    return Codes(**codes, grade={grade: code for grade, code in mapped.items() if code is not None})


def _observations(table: ProfileTable) -> tuple[Observation, ...]:
    entries = table.tables("observation")
    if entries is None:
        return values.OBSERVATIONS
    usual = {each.value: each for each in values.OBSERVATIONS}
    found = []
    for entry in entries:
        value = entry.word("value", Value, Value.FINDING, required=True)
        code = entry.code_here(usual[value].code)
        unit = entry.code("unit", UNITS.get(value))
        if value not in UNITS and unit is not None:
            entry.wrong("unit", f"only a number has one: {', '.join(UNITS)}")
        entry.refuse_unknown()
        found.append(Observation(value, code, unit))
    return tuple(found)
