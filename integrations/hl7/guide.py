"""The message guide of a profile: what a receiver's engineer must know, with examples of the builder at hand.

``sphero message guide`` prints it. Nothing here says what a message looks like; that is read off messages built for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from integrations.hl7.ack import AckCode, Decision, Outcome
from integrations.hl7.conformance import structure_of
from integrations.hl7.guide_texts import FIELDS, MAY_BE_EMPTY, VALUES, WHEN
from integrations.hl7.header import decode_message
from integrations.hl7.message import build_message
from integrations.hl7.names import SEGMENTS, field_names
from integrations.hl7.observations import status_of
from integrations.hl7.profile import Code, Observation, Profile, SendPictures, Value
from integrations.hl7.reading import read_message
from integrations.hl7.result import Document, Picture, ReportedResult, ResultStatus
from integrations.hl7.sample import SAMPLES

HERE = "http://sphero.example:8080"
PDF = b"%PDF-1.7"
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
_BASE64 = re.compile(r"(Base64\^.{12})[^|\r]*")

DECISIONS = {
    Decision.DELIVERED: "delivered",
    Decision.AWAIT: "committed: the application's answer (AA, AE, AR) is waited for",
    Decision.PARK: "parked: a person must look; later messages of the same case wait behind it",
    Decision.RETRY: "tried again a few times, then parked",
    Decision.RESEND: "the same bytes go out again under the same MSH-10, a limited number of times, then parked",
    Decision.BACKOFF: "tried again, with growing pauses, for as long as it takes",
}


def guide(profile: Profile) -> str:
    """The guide in Markdown."""
    samples = {status: _with_attachments(sample, profile) for status, sample in SAMPLES.items()}
    messages = {status: build_message(sample, profile, "lis").body for status, sample in samples.items()}
    parts = [
        _head(profile),
        _section("When a message is sent", _life_cycle(profile, samples)),
        _section("Observations", [*_observations(profile), "", *_codes(profile)]),
        _section("Answers", _answers(profile)),
        _section("Segments and fields", _fields(profile, messages)),
        _section("Examples", _examples(messages)),
    ]
    return "\n\n".join(parts) + "\n"


def _with_attachments(sample: ReportedResult, profile: Profile) -> ReportedResult:
    if profile.pictures.send is not SendPictures.NONE:
        url = f"{profile.pictures.url or HERE}/pictures/0f3a"
        pointed = profile.pictures.send is SendPictures.POINTER
        sample = replace(sample, pictures=(Picture(url=url) if pointed else Picture(jpeg=JPEG),))
    if profile.report.send is SendPictures.NONE:
        return sample
    url = f"{profile.report.url or HERE}/reports/0f3a.pdf"
    pointed = profile.report.send is SendPictures.POINTER
    return replace(sample, document=Document(url=url) if pointed else Document(pdf=PDF))


def _head(profile: Profile) -> str:
    dialect = profile.dialect
    return "\n".join(
        [
            f"# Messages to the laboratory information system: profile {profile.name}",
            "",
            f"Written by `sphero message guide {profile.name}`: change the profile, not this file.",
            "The patient and the figures of the examples are invented.",
            "",
            *_table(
                ("what", "value"),
                [
                    ("message", f"{dialect.structure(profile.message)}, HL7 {profile.version}"),
                    ("segments", structure_of(profile.message, dialect)),
                    ("character set", profile.charset.value),
                    (
                        "times",
                        "with their offset to UTC" if profile.time_zone else "in the site's zone, without offset",
                    ),
                    (
                        "transport",
                        "MLLP over TCP or TLS, one connection, kept open, one message at a time; or batch files in a folder",
                    ),
                    (
                        "control id (MSH-10)",
                        "at most 20 letters and digits; a repeat after an unclear answer has the same id and the same bytes",
                    ),
                ],
            ),
        ]
    )


def _life_cycle(profile: Profile, samples: Mapping[ResultStatus, ReportedResult]) -> Iterator[str]:
    rows = []
    for status, sample in samples.items():
        whole, each = status_of(sample, profile)
        rows.append((status.value, whole, each, WHEN[status]))
    yield from _table(("result", "OBR-25", "OBX-11", "when"), rows)
    yield ""
    yield (
        "Every message tells everything: all observations, under a new MSH-10 and with a later OBR-22. Replace what was "
        "there by what comes, by OBR-3, and within it by OBX-3 and OBX-4. An observation without a value has OBX-11 X. "
        "Under the release policies `preliminary` and `hold`, nothing is final before a person signs."
    )


def _observations(profile: Profile) -> list[str]:
    rows = [
        (
            f"{each.code.identifier} ({each.code.system})",
            each.code.text,
            _data_type(each, profile),
            each.unit.identifier if each.unit else "",
            VALUES[each.value],
        )
        for each in profile.observations
        if profile.sends(each.value)
    ]
    return _table(("OBX-3", "text", "OBX-2", "OBX-6", "what"), rows)


def _data_type(observation: Observation, profile: Profile) -> str:
    picture = "ED" if profile.pictures.send is SendPictures.EMBEDDED else "RP"
    report = "ED" if profile.report.send is SendPictures.EMBEDDED else "RP"
    kinds = {
        Value.PRESENCE: profile.dialect.coded,
        Value.FINDING: "TX",
        Value.PICTURE: picture,
        Value.REPORT: report,
    }
    return kinds.get(observation.value, "NM")


def _codes(profile: Profile) -> list[str]:
    codes = profile.codes
    specimen = "SPM-4" if profile.dialect.has_specimen else "OBR-15"
    rows = [
        ("OBR-4", *_code(codes.panel)),
        ("OBX-17", *_code(codes.method)),
        (specimen, *_code(codes.specimen)),
        ("OBX-5 of a presence", *_code(codes.detected)),
        ("OBX-5 of a presence", *_code(codes.not_detected)),
        *((f"grade {grade}", *_code(code)) for grade, code in codes.grade.items()),
    ]
    return _table(("where", "code", "text"), rows)


def _code(code: Code) -> tuple[str, str]:
    return f"{code.identifier} ({code.system})", code.text


def _answers(profile: Profile) -> Iterator[str]:
    asked = profile.acknowledgement
    if asked.accept or asked.application:
        yield f"Enhanced mode: MSH-15 is {asked.accept or 'empty'}, MSH-16 is {asked.application or 'empty'}."
    else:
        yield "Original mode: one answer to each message. MSA-2 must repeat its MSH-10, else the answer is passed over."
    yield ""
    policy = profile.ack_policy
    rows = [(f"MSA-1 {code}", DECISIONS[policy.decide(_outcome(code), code)]) for code in AckCode]
    rows.append(("none, or none that can be read", DECISIONS[policy.decide(Outcome.UNKNOWN)]))
    rows.append(("no connection", DECISIONS[policy.decide(Outcome.REFUSED)]))
    yield from _table(("answer", "what follows"), rows)


def _outcome(code: AckCode) -> Outcome:
    return Outcome.ACKNOWLEDGED if code in (AckCode.AA, AckCode.CA) else Outcome.REJECTED


def _fields(profile: Profile, messages: Mapping[ResultStatus, bytes]) -> Iterator[str]:
    examples: dict[str, dict[int, str]] = {}
    for status in (ResultStatus.FINAL, *messages):  # the final one has the most fields
        for segment in read_message(messages[status]):
            of_segment = examples.setdefault(segment.name, {})
            for field in segment.fields:
                number = int(field.place.split("-")[1].split("[")[0])
                of_segment.setdefault(number, _raw(messages[status], segment.name, number))
    for name, found in examples.items():
        optional = {number for segment, number in MAY_BE_EMPTY if segment == name}
        names = field_names(profile.version, name)
        rows = [
            (f"{name}-{number}", names[number - 1].name, FIELDS[name, number], found.get(number, ""))
            for number in sorted({*found, *optional})
        ]
        yield f"### {name}: {SEGMENTS[name]}"
        yield ""
        yield from _table(("field", "name in HL7", "what", "example"), rows, code=3)
        yield ""


def _raw(message: bytes, segment: str, number: int) -> str:
    """The first occurrence of a field as it is sent."""
    for line in decode_message(message).split("\r"):
        fields = line.split("|")
        if fields[0] == "MSH":
            fields.insert(1, "|")
        if fields[0] == segment and len(fields) > number and fields[number]:
            return _BASE64.sub(r"\1...", fields[number])
    return ""


def _examples(messages: Mapping[ResultStatus, bytes]) -> Iterator[str]:
    for status, message in messages.items():
        text = "\n".join(_BASE64.sub(r"\1...", line) for line in decode_message(message).split("\r")).rstrip()
        yield from (f"### {status.value.capitalize()}", "", "```", text, "```", "")


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *lines]).rstrip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], code: int | None = None) -> list[str]:
    """A table; the column `code` holds text that must stand as it is."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for row in rows:
        cells = [_cell(text, as_code=place == code) for place, text in enumerate(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(text: str, *, as_code: bool) -> str:
    escaped = text.replace("|", "\\|")
    if not as_code:
        return escaped.replace("[", "\\[").replace("{", "\\{")
    return f"`{escaped}`" if text else ""
