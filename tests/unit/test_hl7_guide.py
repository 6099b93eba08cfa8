"""The message guide: complete for every profile, and the committed one is that of the builder at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from integrations.hl7.conformance import violations
from integrations.hl7.guide import guide
from integrations.hl7.profile import PictureChoice, Profile, ReportChoice, SendPictures, Value
from integrations.hl7.profile_file import load_profile, shipped_profiles

COMMITTED = Path(__file__).resolve().parents[2] / "deploy" / "docs" / "messages.md"


def examples(text: str) -> list[str]:
    return [block.strip("\n") for block in text.split("```")[1::2]]


def test_the_committed_guide_is_up_to_date() -> None:
    assert COMMITTED.read_text() == guide(load_profile("default", Path())), (
        "write it anew: sphero message guide > deploy/docs/messages.md"
    )


@pytest.mark.parametrize("name", shipped_profiles())
def test_the_guide_of_every_profile_tells_every_field_of_its_examples(name: str) -> None:
    profile = load_profile(name, Path(), sending_facility="HEMLAB")
    text = guide(profile)
    assert len(examples(text)) == 6
    for example in examples(text):
        body = (example.replace("\n", "\r") + "\r").encode(profile.charset.codec)
        assert not list(violations(body, time_zone=profile.time_zone)), "the example is a message that may be sent"
        for line in example.splitlines():
            fields = line.split("|")
            offset = 1 if fields[0] == "MSH" else 0
            for number in range(1, len(fields)):
                if fields[number]:
                    assert f"| {fields[0]}-{number + offset} | " in text
    for observation in profile.observations:
        told = f"| {observation.code.identifier} ({observation.code.system}) |" in text
        assert told is (observation.value not in (Value.PICTURE, Value.REPORT))


@pytest.mark.parametrize("send", [SendPictures.EMBEDDED, SendPictures.POINTER])
def test_pictures_are_told_of_where_they_are_sent(send: SendPictures) -> None:
    text = guide(replace(Profile(), pictures=PictureChoice(send)))
    assert "| 72170-4 (LN) |" in text
    assert ("^SPHERO^IM^JPEG" in text) is (send is SendPictures.POINTER)
    assert ("JPEG^Base64^/9j/4AAQSkZJ..." in text) is (send is SendPictures.EMBEDDED)


@pytest.mark.parametrize("send", [SendPictures.EMBEDDED, SendPictures.POINTER])
def test_the_report_is_told_of_where_it_is_sent(send: SendPictures) -> None:
    text = guide(replace(Profile(), report=ReportChoice(send)))
    assert "| 11502-2 (LN) | Laboratory report |" in text
    assert ("/reports/0f3a.pdf^SPHERO^AP^PDF" in text) is (send is SendPictures.POINTER)
    assert ("SPHERO^AP^PDF^Base64^JVBERi0xLjc=" in text) is (send is SendPictures.EMBEDDED)


def test_answers_that_mean_something_else_are_told() -> None:
    assert "| MSA-1 CA | committed: the application's answer" in guide(load_profile("enhanced", Path()))
    assert "| MSA-1 CA | delivered |" in guide(load_profile("default", Path()))
