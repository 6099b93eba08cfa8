"""The check is worth what it finds: each defect is put into a message that passes, and must be found."""

from __future__ import annotations

import pytest

from integrations.errors import ConformanceError
from integrations.hl7.conformance import MAX_MESSAGE_BYTES, require_conformance, violations
from tests.hl7_examples import message

GOOD = message()


def edited(segment: str, field: int, value: str, occurrence: int = 1) -> bytes:
    """Replace one field of the good message."""
    lines = GOOD.decode().split("\r")
    at = [position for position, line in enumerate(lines) if line.startswith(segment)][occurrence - 1]
    fields = lines[at].split("|")
    index = field - 1 if segment == "MSH" else field
    fields += [""] * (index + 1 - len(fields))
    fields[index] = value
    lines[at] = "|".join(fields)
    return "\r".join(lines).encode()


def rearranged(*order: int) -> bytes:
    lines = GOOD.decode().split("\r")
    return ("\r".join(lines[position] for position in order) + "\r").encode()


def test_the_good_message_passes() -> None:
    require_conformance(GOOD)


@pytest.mark.parametrize(
    ("segment", "field"),
    [
        *(("MSH", field) for field in (3, 7, 9, 10, 11, 12)),
        *(("PID", field) for field in (3, 5)),
        *(("ORC", field) for field in (1, 3)),
        *(("OBR", field) for field in (3, 4, 22, 25)),
        *(("OBX", field) for field in (1, 2, 3, 5, 6, 11)),
        *(("NTE", field) for field in (1, 3)),
        *(("SPM", field) for field in (1, 4)),
        ("SFT", 4),
        ("PV1", 2),
    ],
)
def test_each_required_field_is_missed(segment: str, field: int) -> None:
    assert f"{segment}-{field} is required" in " ".join(violations(edited(segment, field, "")))


@pytest.mark.parametrize(
    ("segment", "field", "value", "rule"),
    [
        ("MSH", 9, "ORU^R01", "MSH-9 has a value outside its table"),
        ("MSH", 10, "A" * 21, "MSH-10 is not made"),
        ("MSH", 10, "A B", "MSH-10 is not made"),
        ("MSH", 11, "Q", "MSH-11 has a value outside"),
        ("MSH", 12, "2.6", "MSH-12 has a value outside"),
        ("MSH", 7, "20261123101500", "MSH-7 is no time"),
        ("OBR", 7, "20260230101500+0000", "OBR-7 is no time"),
        ("OBR", 22, "2026-11-23", "OBR-22 is no time"),
        ("OBX", 14, "yesterday", "OBX-14 is no time"),
        ("OBX", 19, "20261123251500+0000", "OBX-19 is no time"),
        ("SPM", 17, "20261123", "SPM-17 is no time"),
        ("PID", 7, "19801301", "PID-7 is no date"),
        ("PID", 7, "1980", "PID-7 is no date"),
        ("MSH", 12, "2.3", "MSH-9 has a value outside its table, or none of version 2.3"),
        ("MSH", 9, "OUL^R22^OUL_R22", "order MSH [SFT] PID PV1 SPM OBR ORC {OBX [NTE]}"),
        ("MSH", 15, "Q", "MSH-15 has a value outside"),
        ("MSH", 7, "20261123101500", "MSH-7 is no time with its zone"),
        ("OBX", 8, "A", "OBX-8 is for a coded value"),
        ("OBX", 2, "RP", "OBX-5 is no pointer"),
        ("OBX", 2, "CE", "OBX-2 names a data type that is not used here"),
        ("PID", 8, "W", "PID-8 has a value outside"),
        ("PID", 3, "123456", "PID-3 needs the identifier and its assigning authority"),
        ("PID", 3, "^^^HOSP^MR", "PID-3 needs the identifier and its assigning authority"),
        ("PID", 3, "1^^^HOSP^MR~2^^^^MR", "PID-3 needs the identifier and its assigning authority"),
        ("PID", 5, '""', "HL7 null"),
        ("OBR", 25, "Q", "OBR-25 has a value outside"),
        ("OBR", 25, "F", "OBX-11 contradicts OBR-25"),
        ("OBX", 11, "F", "OBX-11 contradicts OBR-25"),
        ("OBX", 11, "A", "OBX-11 has a value outside"),
        ("OBX", 11, "X", "OBX-5 has a value although"),
        ("OBX", 1, "2", "OBX-1 does not count"),
        ("NTE", 1, "2", "NTE-1 does not count"),
        ("OBX", 5, "three", "OBX-5 is no number"),
        ("OBX", 5, "3,4", "OBX-5 is no number"),
        ("OBX", 5, "nan", "OBX-5 is no number"),
        ("OBX", 5, "٣", "OBX-5 is no number"),
        ("OBX", 2, "CWE", "OBX-5 is no code"),
        ("OBX", 2, "ED", "OBX-5 is no encapsulated data"),
        ("OBX", 2, "ST", "OBX-2 names a data type"),
        ("OBX", 3, "SPHCNT^Spherocytes counted^99SPH", "OBX-3 and OBX-4 together are not unique"),
        ("OBX", 9, "0.5", "OBX-9 is not allowed"),
        ("OBX", 10, "A", "OBX-10 is not allowed"),
        ("OBX", 12, "20260101", "OBX-12 is not allowed"),
        ("OBX", 20, "x", "OBX-20 is not allowed"),
        ("OBX", 29, "x", "OBX-29 is not allowed"),
        ("NTE", 3, "a\\b", "escape character that begins no escape sequence"),
        ("NTE", 3, "a\x0bb", "control character"),
        ("NTE", 3, "a\u2028b", "control character or a line break"),
        ("NTE", 3, "a\nOBX", "control character or a line break"),
        ("MSH", 18, "8859/1", ""),
    ],
)
def test_each_defect_is_found(segment: str, field: int, value: str, rule: str) -> None:
    found = list(violations(edited(segment, field, value)))
    if rule:
        assert any(rule in one for one in found), found
    else:
        assert found == []  # plain ASCII is right in any character set: the check does not cry wolf


@pytest.mark.parametrize(("value", "passes"), [("a^b", False), ("a&b", False), ("a~b", False), ("a\\S\\b", True)])
def test_a_text_has_no_components(value: str, passes: bool) -> None:
    found = list(violations(edited("OBX", 5, value, occurrence=4)))
    assert (found == []) is passes


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("SPHERO^IM^JPEG^Base64^/9j/4A==", True),
        ("SPHERO^IM^JPEG^Base64^/9j/4A=", False),
        ("SPHERO^IM^JPEG^Base64^", False),
        ("SPHERO^IM^JPEG^Hex^00", False),
    ],
)
def test_encapsulated_data_is_base64(value: str, passes: bool) -> None:
    lines = GOOD.decode().split("\r")
    at = next(position for position, line in enumerate(lines) if line.startswith("OBX|4"))
    fields = lines[at].split("|")
    fields[2], fields[5] = "ED", value
    lines[at] = "|".join(fields)
    found = list(violations("\r".join(lines).encode()))
    assert (found == []) is passes


@pytest.mark.parametrize(
    "body",
    [
        rearranged(*range(2), *range(3, 14)),  # no PID
        rearranged(0, 2, 1, *range(3, 14)),  # SFT after PID
        rearranged(*range(4), 5, 4, *range(6, 14)),  # OBR before ORC
        rearranged(*range(6), 13),  # no OBX
        rearranged(*range(6), 10, *range(6, 10), *range(11, 14)),  # NTE before the first OBX
        rearranged(*range(14), 0),  # a second header
        GOOD + b"ZZZ|1\r",
    ],
)
def test_segments_out_of_order_are_found(body: bytes) -> None:
    assert any("order MSH [SFT] PID" in rule for rule in violations(body))


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "does not begin with MSH"),
        (b"MSH", "does not begin with MSH"),
        (b"\x00\xff" * 50, "character set"),
        (GOOD.rstrip(b"\r"), "last segment is not ended"),
        (GOOD.replace(b"Mueller", "Müller".encode("latin-1")), "MSH-18"),
        (edited("PID", 5, "Müller").replace(b"UNICODE UTF-8", b"ASCII"), "MSH-18"),
        (GOOD + b"NTE|1\r" * 3000, "more than 2000 segments"),
        (GOOD + b" " * MAX_MESSAGE_BYTES, "more than 16777216 bytes"),
    ],
)
def test_bytes_that_are_no_such_message_are_found(body: bytes, rule: str) -> None:
    assert any(rule in one for one in violations(body))


def test_the_error_names_rules_and_no_content() -> None:
    with pytest.raises(ConformanceError) as refused:
        require_conformance(edited("PID", 7, "Geheim"))
    assert refused.value.rules == ("PID-7 is no date",)
    assert "Geheim" not in str(refused.value)
