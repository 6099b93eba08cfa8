"""Hostile texts through the escaping layer, and whole messages full of them, read back by python-hl7.

    python -m tests.hl7_texts                        # 100,000 texts and 2,000 messages; figures into RESULTS
    python -m tests.hl7_texts --texts 1000 --messages 50 --seed 7 --json figures.json

What is expected is worked out here, from the texts alone; python-hl7 shares no code with hl7apy or with our own layer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import hl7

from integrations.errors import TextRefused
from integrations.hl7.builder import MessageBuilder
from integrations.hl7.escape import Charset, escape_text
from integrations.hl7.message import build_message
from integrations.hl7.profile import Code, PictureChoice, Profile, SendPictures, Value
from integrations.hl7.profile_file import load_profile, shipped_profiles
from integrations.hl7.result import (
    OrderNumbers,
    Patient,
    Picture,
    Presence,
    ReportedResult,
    ResultStatus,
    Reviewer,
)
from integrations.hl7.sample import SAMPLES
from integrations.hl7.versions import MessageType
from sphero_core.types import BundleId

RESULTS = Path(__file__).parent / "reliability" / "results" / "hl7-texts.json"
TEXTS, MESSAGES, SEED = 100_000, 2_000, 20261123
PER_MESSAGE = 20

_BREAK = re.compile("\r\n|[\r\n\u0085\u2028\u2029]")
_CONTROL = re.compile("[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\ud800-\udfff]")
_SEPARATORS = [
    "|",
    "^",
    "~",
    "\\",
    "&",
    "#",
    "\\F\\",
    "\\X0D\\",
    "\\.br\\",
    "\\H\\",
    "\\E\\",
    "\\Zx\\",
    '""',
    "MSH|",
    "||",
]
_BREAKS = ["\r", "\n", "\r\n", "\u0085", "\u2028", "\rOBX|1|ST|", "\nPID|2||666", "\rMSH|^~\\&|"]
_CONTROLS = ["\u0000", "\u0007", "\t", "\u000b", "\u001c\r", "\u001b[31m", "\u007f", "\u009b", "\ud800"]
_BEYOND = [
    "😀",
    "👨‍👩‍👧",
    "e\u0301",
    "a\u0308\u0323",
    "\u202eabc",
    "\ufeff",
    "\u00a0",
    "\u200b",
    "Ł",
    "漢字",
    "\U0010ffff",
]
_LATIN = ["é", "Ü", "ß", "ÿ", "¿", "¦", "Müller"]


class Failed(AssertionError):
    """A text came back changed, moved a segment, or was refused or let through wrongly."""


def hostile_text(source: random.Random, *, latin: bool = False, controls: bool = True) -> str:
    """A text of up to a dozen pieces, separators and breaks far more often than chance would bring them."""
    kinds = [_SEPARATORS, _BREAKS, _LATIN, ["x", "Zoe", " ", "0"], *([] if latin else [_BEYOND])]
    pieces = []
    for _ in range(source.randint(1, 12)):
        if controls and source.random() < 0.04:
            pieces.append(source.choice(_CONTROLS))
        elif not latin and source.random() < 0.2:
            pieces.append("".join(_any_character(source) for _ in range(source.randint(1, 4))))
        else:
            pieces.append(source.choice(source.choice(kinds)))
    return "".join(pieces)


def _any_character(source: random.Random) -> str:
    while True:
        char = chr(
            source.choice(
                [source.randint(0x20, 0x2FF), source.randint(0x300, 0xFFFF), source.randint(0x10000, 0x10FFFF)]
            )
        )
        if not _CONTROL.match(char):
            return char


def lines_of(text: str) -> list[str]:
    """The lines that are to arrive."""
    return [line.strip() for line in _BREAK.split(text) if line.strip()]


def is_sendable(text: str) -> bool:
    """Whether a text may leave at all."""
    return _CONTROL.search(text) is None and '""' not in (*lines_of(text), " ".join(lines_of(text)))


def sendable_text(source: random.Random, *, latin: bool) -> str:
    """A hostile text that may leave; never blank."""
    while True:
        text = f"{source.choice('xyz')}{hostile_text(source, latin=latin, controls=False)}"
        if is_sendable(text):
            return text


# ------------------------------------------------------------------------------------------------- the escaping layer
def try_texts(count: int, seed: int) -> Counter[str]:
    """Put random texts through the escaping layer and hl7apy, and read them back.

    Raises
    ------
    Failed
    """
    source, figures = random.Random(seed), Counter[str]()
    waiting: list[tuple[str, str]] = []
    for _ in range(count):
        text = hostile_text(source)
        figures["texts"] += 1
        try:
            escaped = escape_text(text, "PID-5 family name", Charset.UTF_8)
        except TextRefused as refusal:
            if is_sendable(text) or refusal.field != "PID-5 family name":
                raise Failed(f"refused: {text!r}") from refusal
            figures["refused, the field named"] += 1
            continue
        if not is_sendable(text):
            raise Failed(f"let through: {text!r}")
        if escaped:
            waiting.append((" ".join(lines_of(text)), escaped))
        if len(waiting) == PER_MESSAGE:
            _read_back(waiting)
            figures["came back"] += len(waiting)
            waiting = []
    if waiting:
        _read_back(waiting)
        figures["came back"] += len(waiting)
    figures["blank"] = figures["texts"] - figures["came back"] - figures["refused, the field named"]
    return figures


def _read_back(texts: list[tuple[str, str]]) -> None:
    """Each text stands as a field, as a component between others, and in a note."""
    message = MessageBuilder("ORU_R01")
    result = message.group("ORU_R01_PATIENT_RESULT")
    result.group("ORU_R01_PATIENT").segment("PID").put(1, "1")
    order = result.group("ORU_R01_ORDER_OBSERVATION")
    for _, escaped in texts:
        group = order.group("ORU_R01_OBSERVATION")
        group.segment("OBX").put(2, "TX").put(3, (escaped, escaped, "99SPH")).put(5, escaped).put(11, "P")
        group.segment("NTE").put(1, "1").put(3, escaped).put(4, "RE")
    parsed = hl7.parse(message.to_er7())
    names = [str(segment[0]) for segment in parsed]
    if names != ["MSH", "PID", *(["OBX", "NTE"] * len(texts))]:
        raise Failed(f"segments moved: {names}")
    for number, (expected, _) in enumerate(texts, start=1):
        for segment, field, component, wanted in (
            *(("OBX", 3, 1, expected), ("OBX", 3, 2, expected), ("OBX", 3, 3, "99SPH"), ("OBX", 5, 1, expected)),
            *(("OBX", 11, 1, "P"), ("NTE", 3, 1, expected), ("NTE", 4, 1, "RE")),
        ):
            found = parsed.extract_field(segment, number, field, 1, component)
            if found != wanted:
                raise Failed(f"{segment}-{field}.{component}: {wanted!r} came back as {found!r}")


# ----------------------------------------------------------------------------------------------------- whole messages
@dataclass(frozen=True)
class Place:
    """Where a text is to be found: segment, which of them, field, component, subcomponent."""

    text: str
    segment: str
    field: int
    component: int = 1
    subcomponent: int = 1
    number: int = 1


TEXT_FIELDS = (
    *("identifier", "authority", "family", "given", "accession", "issuer", "placer", "filler", "limitation", "bundle"),
    *("version", "reviewer", "reviewer_authority", "reviewer_family", "reviewer_given", "comment", "scheme", "reason"),
    *("sender", "sender_facility", "receiver", "receiver_facility", "equipment", "type", "panel", "method", "specimen"),
    *("code", "unit", "url", "profile_id", "patient_class", "placer_issuer", "filler_issuer", "universal_id"),
)
_NAMES = {
    "identifier": "PID-3", "authority": "PID-3", "family": "PID-5", "given": "PID-5", "accession": "", "issuer": "",
    "placer": "OBR-2", "filler": "OBR-3", "limitation": "NTE-3", "bundle": "SFT-4", "version": "SFT-2",
    "comment": "NTE-3", "scheme": "NTE-3", "reason": "NTE-3", "sender": "MSH-3", "sender_facility": "MSH-4",
    "receiver": "MSH-5", "receiver_facility": "MSH-6", "equipment": "OBX-18", "type": "PID-3", "panel": "OBR-4",
    "method": "OBX-17", "specimen": "", "code": "OBX-3", "unit": "OBX-6", "url": "OBX-5", "profile_id": "MSH-21",
    "patient_class": "PV1-2", "placer_issuer": "OBR-2", "filler_issuer": "OBR-3", "universal_id": "OBR-2",
}  # fmt: skip


def hostile_message(texts: dict[str, str], profile: Profile, status: ResultStatus) -> tuple[ReportedResult, Profile]:
    """A result and a profile with these texts wherever a text can stand."""
    sample = SAMPLES[status]
    numbers = OrderNumbers(
        texts["accession"],
        texts["issuer"],
        texts["placer"],
        texts["filler"],
        (texts["placer_issuer"], texts["universal_id"], "ISO"),
        (texts["filler_issuer"], texts["universal_id"], "ISO"),
    )
    names = [texts[name] for name in ("reviewer", "reviewer_authority", "reviewer_family", "reviewer_given")]
    presence = Presence(detected=True, grade="1+", scheme=texts["scheme"], false_call_percent=0.5)
    result = replace(
        sample,
        patient=Patient(
            texts["identifier"], texts["authority"], texts["family"], texts["given"], date(1980, 1, 1), "F"
        ),
        order=numbers,
        counts=replace(sample.counts, limitations=(texts["limitation"],)) if sample.counts else None,
        bundle=BundleId(texts["bundle"], "1", "ab" * 32),
        software_version=texts["version"],
        reviewer=Reviewer(*names) if sample.reviewer else None,
        presence=presence if sample.counts else None,
        comment=texts["comment"],
        not_obtained=texts["reason"] if sample.not_obtained else None,
        pictures=(Picture(url=texts["url"]),),
    )
    code, unit = Code(texts["code"], texts["code"], texts["code"]), Code(texts["unit"], texts["unit"], texts["unit"])
    codes: dict[str, Any] = {
        name: Code(texts[name], texts[name], texts[name]) for name in ("panel", "method", "specimen")
    }
    first, *rest = (each for each in profile.observations if each.value.value != "presence")
    profile = replace(
        profile,
        sending_application=texts["sender"],
        sending_facility=texts["sender_facility"],
        receiving_application=texts["receiver"],
        receiving_facility=texts["receiver_facility"],
        equipment=texts["equipment"],
        identifier_type=texts["type"],
        patient_class=texts["patient_class"],
        profile_id=(texts["profile_id"],) if profile.dialect.has_profile_id else (),
        accession_fields=("OBR-18", "SPM-2") if profile.dialect.has_specimen else ("OBR-18",),
        codes=replace(profile.codes, **codes),
        observations=(profile.observations[0], replace(first, code=code, unit=unit), *rest),
        pictures=PictureChoice(SendPictures.POINTER),
    )
    return result, profile


def places_of(texts: dict[str, str], profile: Profile, status: ResultStatus) -> Iterator[Place]:
    """Where each text must be found by who reads the message."""
    said = {name: " ".join(lines_of(text)) for name, text in texts.items()}
    for field, name in ((3, "sender"), (4, "sender_facility"), (5, "receiver"), (6, "receiver_facility")):
        yield Place(said[name], "MSH", field)
    for component, name in ((1, "identifier"), (4, "authority"), (5, "type")):
        yield Place(said[name], "PID", 3, component)
    yield Place(said["family"], "PID", 5, 1)
    yield Place(said["given"], "PID", 5, 2)
    yield Place(said["patient_class"], "PV1", 2)
    for segment in ("ORC", "OBR"):
        yield Place(said["placer"], segment, 2)
        yield Place(said["filler"], segment, 3)
        yield Place(said["placer_issuer"], segment, 2, 2)
        yield Place(said["filler_issuer"], segment, 3, 2)
        yield Place(said["universal_id"], segment, 3, 3)
    yield Place(said["accession"], "OBR", 18)
    for component in (1, 2, 3):
        yield Place(said["panel"], "OBR", 4, component)
        yield Place(said["code"], "OBX", 3, component, number=2)
        yield Place(said["method"], "OBX", 17, component, number=3)
    if status is not ResultStatus.NOT_OBTAINED:
        yield Place(said["unit"], "OBX", 6, 2, number=2)
    if profile.dialect.has_profile_id:
        yield Place(said["profile_id"], "MSH", 21)
    if profile.dialect.has_equipment:
        yield Place(said["equipment"], "OBX", 18, number=4)
    if profile.dialect.has_specimen:
        yield Place(said["version"], "SFT", 2)
        yield Place(" ".join(lines_of(f"{texts['bundle']}+sha256:{'ab' * 6}")), "SFT", 4)
        yield Place(said["accession"], "SPM", 2, 2, 1)
        yield Place(said["issuer"], "SPM", 2, 2, 2)
        yield Place(said["specimen"], "SPM", 4, 2)
    else:
        yield Place(said["specimen"], "OBR", 15, 1, 2)
    if SAMPLES[status].reviewer is not None:
        for component, name in (
            (1, "reviewer"),
            (2, "reviewer_family"),
            (3, "reviewer_given"),
            (9, "reviewer_authority"),
        ):
            yield Place(said[name], "OBX", 16, component, number=5)
            yield Place(said[name], "OBR", 32, 1, component)


def notes_of(texts: dict[str, str], status: ResultStatus) -> list[str]:
    """The notes as they must arrive, in their order."""
    comment = lines_of(texts["comment"])
    if status is ResultStatus.NOT_OBTAINED:
        return [*lines_of(f"No result: {texts['reason']}"), *comment] * 2
    special = {
        ResultStatus.UNVERIFIED: ["Counted by software; not verified by a person."],
        ResultStatus.RELEASED: [
            "Released as final by software, by a rule of the laboratory; not verified by a person."
        ],
        ResultStatus.CORRECTED: ["Corrected result; it replaces the one reported before."],
        ResultStatus.WRONG_PATIENT: ["Reported for the wrong patient: disregard this result."],
    }.get(status, [])
    support = "Decision support: correlate with DAT, reticulocytes, MCHC, EMA binding and family history."
    scheme = " ".join(lines_of(f"Grade 1+ by the scheme {texts['scheme']}."))
    return [scheme, *lines_of(texts["limitation"]), support, *special, *comment]


def structure_of(profile: Profile) -> list[str]:
    """The segments as they must arrive, notes left out."""
    report = profile.report.send is not SendPictures.NONE
    observations = ["OBX"] * sum(report or each.value is not Value.REPORT for each in profile.observations)
    begin = ["MSH", *(["SFT"] if profile.dialect.has_software else []), "PID", "PV1"]
    if profile.message is MessageType.OUL_R22:
        return [*begin, "SPM", "OBR", "ORC", *observations]
    return [*begin, "ORC", "OBR", *observations, *(["SPM"] if profile.dialect.has_specimen else [])]


def try_messages(count: int, seed: int) -> Counter[str]:
    """Build whole messages in every shipped profile and status, read them back, and spoil one field of each.

    Raises
    ------
    Failed
    """
    source, figures = random.Random(seed), Counter[str]()
    profiles = [load_profile(name, Path()) for name in shipped_profiles()]
    kinds = [(profile, status) for profile in profiles for status in ResultStatus]
    for number in range(count):
        profile, status = kinds[number % len(kinds)]
        latin = profile.charset is not Charset.UTF_8
        texts = {name: sendable_text(source, latin=latin) for name in TEXT_FIELDS}
        result, hostile = hostile_message(texts, profile, status)
        body = build_message(result, hostile, "lis").body
        figures["messages"] += 1
        figures["fields read back"] += _check_message(body, texts, hostile, status)
        figures[f"{profile.message} {profile.version}"] += 1
        figures["spoilt by a control character, refused, the field named"] += _spoil(source, texts, profile, status)
    return figures


def _check_message(body: bytes, texts: dict[str, str], profile: Profile, status: ResultStatus) -> int:
    parsed = hl7.parse(body.decode(profile.charset.codec))
    names = [str(segment[0]) for segment in parsed]
    if [name for name in names if name != "NTE"] != structure_of(profile):
        raise Failed(f"segments moved: {names}")
    notes = [parsed.extract_field("NTE", at, 3) for at in range(1, names.count("NTE") + 1)]
    if notes != notes_of(texts, status):
        raise Failed(f"notes came back as {notes!r}")
    checked = len(notes)
    for place in places_of(texts, profile, status):
        found: Any = parsed.extract_field(
            place.segment, place.number, place.field, 1, place.component, place.subcomponent
        )
        if found != place.text:
            raise Failed(f"{place.segment}-{place.field}.{place.component}: {place.text!r} came back as {found!r}")
        checked += 1
    return checked


def _spoil(source: random.Random, texts: dict[str, str], profile: Profile, status: ResultStatus) -> int:
    """Put a control character into one field; 1 where it was refused by its name, 0 where it is not in the message."""
    name = source.choice(TEXT_FIELDS)
    control = source.choice(_CONTROLS)
    result, hostile = hostile_message({**texts, name: f"x{control}Geheim"}, profile, status)
    try:
        body = build_message(result, hostile, "lis").body
    except TextRefused as refusal:
        wanted = _NAMES.get(name, "OB")  # a reviewer stands in OBX-16 and OBR-32
        if not refusal.field.startswith(wanted) or "Geheim" in str(refusal):
            raise Failed(f"{name}: refused as {refusal.field}") from refusal
        return 1
    if b"Geheim" in body:
        raise Failed(f"{name}: a control character was let through")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run everything and write the figures down."""
    parser = argparse.ArgumentParser(prog="python -m tests.hl7_texts", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    figures = {
        "escaping layer": dict(try_texts(options.texts, options.seed)),
        "whole messages": dict(try_messages(options.messages, options.seed)),
        "failures": 0,
        "seed": options.seed,
        "seconds": round(time.monotonic() - started, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
