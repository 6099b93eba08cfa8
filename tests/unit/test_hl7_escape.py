"""Texts through the escaping layer and hl7apy, read back by python-hl7, which shares no code with either."""

from __future__ import annotations

import re
import unicodedata

import hl7
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from integrations.errors import TextRefused
from integrations.hl7.builder import MessageBuilder
from integrations.hl7.escape import Charset, escape_lines, escape_text, unescape

LINE_BREAKS = "\r\n\u0085\u2028\u2029"

# Separators and escapes far more often than chance would bring them, beside anything at all.
pieces = st.one_of(
    st.sampled_from(
        ["|", "^", "~", "\\", "&", "\\F\\", "\\X0D\\", "\\.br\\", "\\H\\", "\\E\\", "\rOBX|1|ST|", "\n", "\r\n"]
    ),
    st.sampled_from(["😀", "👨‍👩‍👧", "e\u0301", "\u202e", "\ufeff", "\u00a0", " ", "#", '""', "MSH|"]),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
texts = st.lists(pieces, max_size=12).map("".join)


def is_control(char: str) -> bool:
    return unicodedata.category(char) == "Cc" and char not in LINE_BREAKS


def through_hl7apy(er7: str) -> hl7.Message:
    """Put one escaped value into a simple and a composite field, between neighbours that must stay where they are."""
    message = MessageBuilder("ORU_R01")
    result = message.group("ORU_R01_PATIENT_RESULT")
    result.group("ORU_R01_PATIENT").segment("PID").put(1, "1").put(5, (er7, er7, "M")).put(8, "F")
    observation = result.group("ORU_R01_ORDER_OBSERVATION").group("ORU_R01_OBSERVATION")
    observation.segment("OBX").put(2, "TX").put(5, er7).put(11, "P")
    observation.segment("NTE").put(1, "1").put(3, er7).put(4, "RE")
    return hl7.parse(message.to_er7().encode())


def read(message: hl7.Message, segment: str, field: int, component: int = 1) -> str:
    value: str = message.extract_field(segment, 1, field, 1, component)
    return value


@settings(max_examples=400, deadline=None)
@given(texts)
@example("\\")
@example("a\\F\\b")
@example("x\rOBX|2|NM|injected")
def test_random_texts_come_back_and_never_move_a_segment(text: str) -> None:
    if any(is_control(char) for char in text):
        with pytest.raises(TextRefused, match="PID-5"):
            escape_text(text, "PID-5", Charset.UTF_8)
        return
    expected = " ".join(line.strip() for line in re.split(f"[{LINE_BREAKS}]", text) if line.strip())
    if '""' in (expected, *(line.strip() for line in re.split(f"[{LINE_BREAKS}]", text))):
        with pytest.raises(TextRefused):
            escape_text(text, "PID-5")
        return
    message = through_hl7apy(escape_text(text, "PID-5") or "empty")
    assert [str(segment[0]) for segment in message] == ["MSH", "PID", "OBX", "NTE"]
    for segment, field, component in (("PID", 5, 1), ("PID", 5, 2), ("OBX", 5, 1), ("NTE", 3, 1)):
        assert read(message, segment, field, component) == (expected or "empty")
    assert (read(message, "PID", 5, 3), read(message, "PID", 8)) == ("M", "F")
    assert (read(message, "OBX", 11), read(message, "NTE", 4)) == ("P", "RE")


@settings(max_examples=300, deadline=None)
@given(texts)
def test_unescape_is_the_way_back(text: str) -> None:
    try:
        lines = escape_lines(text, "NTE-3")
    except TextRefused:
        return
    assert all(char not in "".join(lines) for char in "|^~&\r\n")
    assert [unescape(line) for line in lines] == [
        line.strip() for line in re.split(f"[{LINE_BREAKS}]", text) if line.strip()
    ]


@pytest.mark.parametrize("char", [chr(code) for code in (0x00, 0x01, 0x09, 0x0B, 0x0C, 0x1B, 0x1C, 0x1E, 0x7F, 0x9B)])
def test_control_characters_are_refused_naming_the_field_and_not_the_text(char: str) -> None:
    with pytest.raises(TextRefused) as refused:
        escape_text(f"Geheim{char}name", "PID-5 family name")
    assert refused.value.field == "PID-5 family name"
    assert f"U+{ord(char):04X}" in str(refused.value)
    assert "Geheim" not in str(refused.value)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(TextRefused, match="NTE-3"):
        escape_lines("a\ud800b", "NTE-3")


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\u0085", "\u2028", "\u2029"])
def test_a_line_break_makes_lines_or_a_space(line_break: str) -> None:
    text = f" one {line_break}{line_break}two|"
    assert escape_lines(text, "NTE-3") == ("one", "two\\F\\")
    assert escape_text(text, "OBX-5") == "one two\\F\\"


@pytest.mark.parametrize(
    ("charset", "text", "fits"),
    [
        (Charset.UTF_8, "Müller 😀", True),
        (Charset.LATIN_1, "Müller", True),
        (Charset.LATIN_1, "Łukasz", False),
        (Charset.ASCII, "Mueller", True),
        (Charset.ASCII, "Müller", False),
    ],
)
def test_a_text_is_held_against_the_character_set(charset: Charset, text: str, *, fits: bool) -> None:
    if fits:
        assert escape_text(text, "PID-5", charset).encode(charset.codec).decode(charset.codec) == text
    else:
        with pytest.raises(TextRefused, match=re.escape(charset)):
            escape_text(text, "PID-5", charset)


def test_the_hl7_null_is_refused() -> None:
    for text in ('""', ' "" ', '\n""'):
        with pytest.raises(TextRefused, match="delete"):
            escape_text(text, "PID-5")
    assert escape_text('"quoted"', "PID-5") == '"quoted"'
