"""Messages taken apart for people, whoever sent them, and how they look on a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.message import readable, show_file
from flows.cli.message_view import as_data, show
from integrations.hl7.ack import AckCode, build_ack
from integrations.hl7.er7 import Separators
from integrations.hl7.message import build_message
from integrations.hl7.profile import PictureChoice, SendPictures
from integrations.hl7.profile_file import load_profile
from integrations.hl7.reading import decode, messages_in, read_message
from integrations.hl7.result import Picture, ResultStatus
from integrations.hl7.sample import SAMPLES
from tests.hl7_examples import PLAIN, PROFILE, message

USUAL = Separators("|", "^", "~", "\\", "&")


def shown(body: bytes, width: int = 100, *, raw: bool = False, components: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(body, raw=raw, components=components, console=console)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_fields_have_their_names_and_codes_their_meaning() -> None:
    lines = shown(message())
    assert lines[0] == "MSH  Message header"
    assert "  PID-3      Patient identifier list               123456 ^^^ HOSP ^ MR" in lines
    assert "  PID-7      Date/time of birth                    19800101" in lines
    assert "  PID-8      Administrative sex                    F  female" in lines
    assert "  OBR-25     Result status                         P  preliminary" in lines
    assert "  SPM-2      Specimen ID                           ^ 26-00412 & LIS" in lines


def test_components_have_their_names() -> None:
    lines = shown(message(), components=True)
    assert "    PID-5.1  " in "\n".join(lines)
    found = {line.split()[0]: line[14:].strip() for line in lines if line.startswith("    ")}
    assert found["PID-3.4"].split("  ")[0] == "Assigning authority"
    assert found["OBX-6.3"].split("  ")[0] == "Name of coding system"


def test_the_value_of_an_observation_is_named_by_its_own_data_type() -> None:
    final = build_message(SAMPLES[ResultStatus.FINAL], PROFILE, "lis").body
    (observation, *_) = [segment for segment in read_message(final) if segment.name == "OBX"]
    (value,) = [field for field in observation.fields if field.place == "OBX-5"]
    assert [component.name for component in value.components] == [
        "Identifier",
        "Text",
        "Name of coding system",
        "Alternate identifier",
        "Alternate text",
        "Name of alternate coding system",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(width: int) -> None:
    long = replace(PLAIN, comment="A remark that goes on. " * 20)
    lines = shown(build_message(long, PROFILE, "lis").body, width)
    assert max(map(len, lines)) <= width
    assert "Aremarkthatgoeson." * 20 in "".join("".join(lines).split())


def test_escapes_are_decoded_and_the_raw_text_keeps_them() -> None:
    assert PLAIN.patient is not None
    body = build_message(replace(PLAIN, patient=replace(PLAIN.patient, family="O|B^&~\\")), PROFILE, "lis").body
    assert "  PID-5      Patient name                          O|B^&~\\ ^ Zoe" in shown(body)
    raw = shown(body, raw=True)
    assert "".join(raw).count("O\\F\\B\\S\\\\T\\\\R\\\\E\\^Zoe") == 1
    assert "\r".join([*raw, ""]) == body.decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\\.br\\b", "a\nb"),
        ("\\H\\bold\\N\\", "bold"),
        ("\\X4D\\\\XC3BC\\", "Mü"),
        ("\\Z9\\", "\\Z9\\"),
        ("lone \\ one", "lone \\ one"),
        ("\\E\\F\\E\\", "\\F\\"),
    ],
)
def test_escape_sequences_of_others_are_decoded(value: str, text: str) -> None:
    assert decode(value, USUAL) == text


def test_pictures_are_shortened_on_the_screen_and_whole_in_the_data() -> None:
    profile = replace(PROFILE, pictures=PictureChoice(SendPictures.EMBEDDED))
    body = build_message(replace(PLAIN, pictures=(Picture(b"\xff\xd8" + bytes(90_000)),)), profile, "lis").body
    assert any("(120,004 characters)" in line for line in shown(body))
    assert max(len(line) for line in shown(body)) <= 100
    assert len(json.dumps(as_data(body))) > 120_000


def test_nothing_in_a_message_steers_the_terminal() -> None:
    body = b"MSH|^~\\&|A||||20260101||ORU^R01|1|P|2.3\rNTE|1||\x1b[31mred\x07\xe2\x80\xae\xc2\x9b\r"
    for raw in (True, False):
        text = "\n".join(shown(body, raw=raw))
        assert not any(char in text for char in "\x1b\x07\u202e\x9b")
        assert "␛[31mred␇<U+202E><U+009B>" in text


def test_an_acknowledgement_and_what_is_none_are_shown() -> None:
    from datetime import UTC, datetime

    ack = build_ack(message(), AckCode.AE, control_id="A1", now=datetime(2026, 1, 1, tzinfo=UTC))
    assert any(line.split()[:3] == ["MSA-1", "Acknowledgment", "code"] and "error" in line for line in shown(ack))
    lines = shown(b"garbage \x1b\r")
    assert lines[0].startswith("as it came")
    assert lines[1] == "garbage ␛"
    assert as_data(b"garbage") is None


@pytest.mark.parametrize(
    "header",
    [b"MSH|^~\\&|A||||2026||ADT^A08|1|P|2.1\r", b"MSH#^~\\&#A####2026##ADT^A08#1#P#9.9\r", b"MSH|^~\\&|A\r"],
)
def test_other_versions_and_separators_are_read(header: bytes) -> None:
    segments = read_message(header + b"ZZZ|a^b|c\rPID|1||5\r".replace(b"|", header[3:4]))
    assert [segment.name for segment in segments] == ["MSH", "ZZZ", "PID"]
    assert [component.parts for component in segments[1].fields[0].components] == [("a",), ("b",)]
    assert segments[0].fields[0].components[0].parts == (header[3:4].decode(),)


def test_repetitions_are_told_apart() -> None:
    body = message().replace(b"123456^^^HOSP^MR", b"1^^^A^MR~2^^^B^PI")
    places = [field.place for segment in read_message(body) if segment.name == "PID" for field in segment.fields]
    assert places[1:3] == ["PID-3", "PID-3[2]"]


@pytest.mark.parametrize(
    ("around", "count"),
    [
        (b"%b", 1),
        (b"\x0b%b\x1c\r", 1),
        (b"\x0b%b\x1c\r\x0b%b\x1c\r", 2),
        (b"FHS|^~\\&|A\rBHS|^~\\&|A\r%b%bBTS|2\rFTS|1\r", 2),
        (b"\xef\xbb\xbf%b\n\n%b", 2),
    ],
)
def test_files_of_every_kind_are_opened(around: bytes, count: int) -> None:
    found = messages_in(around.replace(b"%b", message()))
    assert len(found) == count
    for each in found:
        assert [segment.name for segment in read_message(each)] == [segment.name for segment in read_message(message())]


def test_the_text_is_read_by_its_own_character_set() -> None:
    assert PLAIN.patient is not None
    result = replace(PLAIN, patient=replace(PLAIN.patient, family="Müller"))
    body = build_message(result, load_profile("hl7-2.3", Path()), "lis").body
    assert b"M\xfcller" in body
    assert any("Müller ^ Zoe" in line for line in shown(body))
    assert "Müller^Zoe" in "\n".join(shown(body, raw=True))
    assert "Müller^Zoe" in readable(body)


def test_lines_may_end_as_they_like() -> None:
    for end in (b"\n", b"\r\n"):
        assert read_message(message().replace(b"\r", end)) == read_message(message())


def test_a_file_is_shown_as_data_or_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "received.hl7"
    file.write_bytes(b"\x0b" + build_message(PLAIN, load_profile("oul-r22", Path()), "lis").body + b"\x1c\r")
    show_file(file, raw=False, components=False, as_json=True)
    (data,) = json.loads(capsys.readouterr().out)
    assert [segment["segment"] for segment in data["segments"]][:6] == ["MSH", "SFT", "PID", "PV1", "SPM", "OBR"]
    (name,) = [field for field in data["segments"][2]["fields"] if field["place"] == "PID-5"]
    assert name["components"][0] == {"place": "PID-5.1", "name": "Family name", "value": "Mueller"}
    show_file(file, raw=True, components=False, as_json=False)
    assert capsys.readouterr().out.startswith("MSH|^~\\&|SPHERO|")
    file.write_bytes(b"no message")
    with pytest.raises(SystemExit):
        show_file(file, raw=False, components=False, as_json=False)
    assert "no line begins with MSH" in capsys.readouterr().err
