from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import hl7
import pytest
from hypothesis import given, settings

from integrations.errors import PatientUnknown, ProfileError, ResultRefused, TextRefused
from integrations.hl7.conformance import violations
from integrations.hl7.escape import Charset
from integrations.hl7.message import build_message
from integrations.hl7.profile import Profile
from integrations.hl7.result import Patient, Presence, ReportedResult, ResultStatus, Reviewer
from sphero_core.types import CaseCounts
from tests.hl7_examples import PLAIN, PROFILE, hostile
from tests.unit.test_hl7_escape import is_control, texts

NOT_OBTAINED = replace(
    PLAIN,
    status=ResultStatus.NOT_OBTAINED,
    counts=None,
    bundle=None,
    analysed=None,
    not_obtained="every field was refused",
)
HOSTILE_TEXT = "Ü|^~\\&\\F\\\rOBX|9|ST|injected 😀"


def segments(body: bytes) -> list[str]:
    lines = body.decode().split("\r")
    assert lines.pop() == ""
    return lines


def fields(line: str) -> list[str]:
    return line.split("|")


def test_golden_message() -> None:
    message = build_message(PLAIN, PROFILE, "lis")
    shared = "P|||20261123084500+0000|||MRCNN^Mask R-CNN RBC segmentation^99SPH|SPHERO-01|20261123101430+0000"
    assert segments(message.body) == [
        (
            f"MSH|^~\\&|SPHERO|HEMLAB|LIS|HOSP|20261123101500+0000||ORU^R01^ORU_R01|{message.control_id}|P|2.5.1"
            "||||||UNICODE UTF-8"
        ),
        "SFT|Spheroflow|0.1.0|SPHERO|sphero-mini+sha256:abababababab",
        "PID|1||123456^^^HOSP^MR||Mueller^Zoe||19800101|F",
        "PV1|1|U",
        "ORC|RE|PL123|26-00412^LIS",
        (
            "OBR|1|PL123|26-00412^LIS|58408-6^Erythrocyte morphology panel - Blood^LN|||20261123084500+0000"
            "|||||||||||||||20261123101500+0000||HM|P"
        ),
        f"OBX|1|NM|SPHPCT^Spherocytes per 100 erythrocytes^99SPH||3.4|%^percent^UCUM|||||{shared}",
        f"OBX|2|NM|SPHCNT^Spherocytes counted^99SPH||62|{{#}}^count^UCUM|||||{shared}",
        f"OBX|3|NM|RBCEVAL^Erythrocytes evaluated^99SPH||1842|{{#}}^count^UCUM|||||{shared}",
        (
            "OBX|4|TX|6742-1^Erythrocyte morphology finding [Identifier] in Blood^LN"
            f"||Spherocytes 62/1842 RBC (3.4 %), 95 % CI 2.6-4.3||||||{shared}"
        ),
        "NTE|1|L|Counted in 5 fields.",
        "NTE|2|L|Decision support: correlate with DAT, reticulocytes, MCHC, EMA binding and family history.",
        "NTE|3|L|Counted by software; not verified by a person.",
        "SPM|1|^26-00412&LIS||119297000^Blood specimen^SCT|||||||||||||20261123084500+0000",
    ]


def test_golden_message_with_hostile_text_in_every_free_text_field() -> None:
    result, profile = hostile(HOSTILE_TEXT)
    message = build_message(result, profile, "lis")
    one = "Ü\\F\\\\S\\\\R\\\\E\\\\T\\\\E\\F\\E\\"
    two = "OBX\\F\\9\\F\\ST\\F\\injected 😀"
    both = f"{one} {two}"
    lines = segments(message.body)
    assert lines[0] == (
        f"MSH|^~\\&|{both}|{both}|{both}|{both}|20261123101500+0000||ORU^R01^ORU_R01|{message.control_id}|P|2.5.1"
        "||||||UNICODE UTF-8"
    )
    assert lines[1:6] == [
        f"SFT|Spheroflow|{both}|SPHERO|{both}+sha256:abababababab",
        f"PID|1||{both}^^^{both}^MR||{both}^{both}||19800101|F",
        "PV1|1|U",
        f"ORC|RE|{both}|{both}",
        (
            f"OBR|1|{both}|{both}|58408-6^Erythrocyte morphology panel - Blood^LN|||20261123084500+0000"
            f"|||||||||||{both}||||20261123101500+0000||HM|P"
        ),
    ]
    assert [fields(line)[18] for line in lines if line.startswith("OBX")] == [both] * 4
    assert lines[10:14] == [f"NTE|1|L|{one}", f"NTE|2|L|{two}", f"NTE|3|L|{one}", f"NTE|4|L|{two}"]
    assert fields(lines[-1])[2] == f"^{both}&{both}"
    assert len(lines) == 17


@settings(max_examples=25, deadline=None)
@given(texts)
def test_any_text_in_every_field_keeps_the_segments_and_comes_back(text: str) -> None:
    result, profile = hostile("x" + text + "x")
    if any(is_control(char) for char in text):
        with pytest.raises(TextRefused):
            build_message(result, profile, "lis")
        return
    try:
        body = build_message(result, profile, "lis").body
    except TextRefused:
        assert '""' in text  # a line of its own: the HL7 null
        return
    parsed = hl7.parse(body)
    names = [str(segment[0]) for segment in parsed]
    assert [name for name in names if name != "NTE"] == [
        *("MSH", "SFT", "PID", "PV1", "ORC", "OBR", "OBX", "OBX", "OBX", "OBX", "SPM")
    ]
    expected = " ".join(line.strip() for line in ("x" + text + "x").splitlines() if line.strip())
    read = [
        parsed.extract_field("PID", 1, 5, 1, 1),
        parsed.extract_field("OBX", 4, 18),
        parsed.extract_field("SFT", 1, 2),
    ]
    assert [" ".join(value.split()) for value in read] == [" ".join(expected.split())] * 3


def test_never_a_disease_and_nothing_detected_without_a_grade() -> None:
    for result in (PLAIN, NOT_OBTAINED):
        text = build_message(result, PROFILE, "lis").body.decode().lower()
        for word in ("detected", "hereditary", "diagnos", "260373001", "260415000"):
            assert word not in text
    assert b"802-9" not in build_message(PLAIN, PROFILE, "lis").body


@pytest.mark.parametrize(
    "patient",
    [None, Patient("", "HOSP"), Patient("123456", ""), Patient(" ", "HOSP"), Patient("123456", "\n")],
)
def test_without_a_patient_identifier_and_its_authority_nothing_is_built(patient: Patient | None) -> None:
    with pytest.raises(PatientUnknown, match="PID-3"):
        build_message(replace(PLAIN, patient=patient), PROFILE, "lis")


def test_an_unknown_name_is_said_to_be_unspecified() -> None:
    body = build_message(replace(PLAIN, patient=Patient("123456", "HOSP")), PROFILE, "lis").body
    assert segments(body)[2] == "PID|1||123456^^^HOSP^MR||^^^^^^U"


def test_a_case_without_result_says_so_in_each_observation() -> None:
    reason = "every field was refused:\nout of focus"
    lines = segments(build_message(replace(NOT_OBTAINED, not_obtained=reason), PROFILE, "lis").body)
    observations = [fields(line) for line in lines if line.startswith("OBX")]
    assert [line[3].split("^")[0] for line in observations] == ["802-9", "SPHPCT", "SPHCNT", "RBCEVAL", "6742-1"]
    assert [(line[5], line[11]) for line in observations] == [("", "X")] * 5
    assert fields(lines[5])[25] == "X"
    assert "NTE|1|L|No result: every field was refused:" in lines
    assert "NTE|2|L|out of focus" in lines
    assert [at for at, line in enumerate(lines) if line.startswith("NTE|1|L|No result")] == [7, 13], "first and finding"


def test_without_a_red_cell_only_the_percentage_is_missing() -> None:
    result = replace(PLAIN, counts=CaseCounts(0, 0, None, None, 2))
    observations = [
        fields(line) for line in segments(build_message(result, PROFILE, "lis").body) if line.startswith("OBX")
    ]
    assert [(line[5], line[11]) for line in observations] == [
        ("", "X"),
        ("0", "P"),
        ("0", "P"),
        ("Spherocytes 0/0 RBC", "P"),
    ]


def test_the_profile_says_where_the_numbers_stand_and_what_unverified_means() -> None:
    profile = replace(PROFILE, accession_fields=("OBR-18",), unverified_status="R")
    result = replace(PLAIN, order=replace(PLAIN.order, filler="F-77"))
    lines = segments(build_message(result, profile, "lis").body)
    assert fields(lines[4])[2:4] == ["PL123", "F-77"]
    assert (fields(lines[5])[3], fields(lines[5])[18], fields(lines[5])[25]) == ("F-77", "26-00412", "R")
    assert {fields(line)[11] for line in lines if line.startswith("OBX")} == {"R"}
    assert fields(lines[-1])[2] == ""


@pytest.mark.parametrize("charset", list(Charset))
def test_the_bytes_are_in_the_character_set_they_name(charset: Charset) -> None:
    profile = replace(PROFILE, charset=charset)
    umlaut = replace(PLAIN, patient=Patient("1", "HOSP", "Müller"))
    if charset is Charset.ASCII:
        with pytest.raises(TextRefused, match="PID-5 family name"):
            build_message(umlaut, profile, "lis")
        body = build_message(PLAIN, profile, "lis").body
        assert fields(segments(body)[0])[-1] == "2.5.1"  # no MSH-18 means ASCII
    else:
        body = build_message(umlaut, profile, "lis").body
        assert "^HOSP^MR||Müller\r" in body.decode(charset.codec)
        assert f"|{charset}\r".encode() in body
    assert not list(violations(body))


def test_equal_results_give_equal_bytes_and_anything_else_another_control_id() -> None:
    first = build_message(PLAIN, PROFILE, "lis")
    assert build_message(PLAIN, PROFILE, "lis") == first
    others = [
        build_message(replace(PLAIN, case_id="other"), PROFILE, "lis"),
        build_message(replace(PLAIN, revision=2), PROFILE, "lis"),
        build_message(PLAIN, PROFILE, "archive"),
        build_message(replace(PLAIN, software_version="0.1.1"), PROFILE, "lis"),
        build_message(replace(PLAIN, reported=PLAIN.reported.replace(minute=16)), PROFILE, "lis"),
    ]
    assert len({first.control_id, *(other.control_id for other in others)}) == 6


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (replace(PLAIN, counts=CaseCounts(10, 11, 50.0, (1, 99), 1)), "more spherocytes"),
        (replace(PLAIN, counts=CaseCounts(10, 1, float("nan"), (1, 99), 1)), "percentage outside"),
        (replace(PLAIN, counts=CaseCounts(10, 1, 10.0, (1, 101), 1)), "percentage outside"),
        (replace(PLAIN, counts=CaseCounts(10, 1, None, None, 1)), "percentage needs"),
        (replace(PLAIN, counts=None), "either counts or a reason"),
        (replace(PLAIN, not_obtained="rejected"), "either counts or a reason"),
        (replace(PLAIN, counts=None, not_obtained="rejected"), "OBX-11: the status X"),
        (replace(PLAIN, status=ResultStatus.NOT_OBTAINED), "OBX-11: the status X"),
        (replace(PLAIN, status=ResultStatus.FINAL), "OBX-16: a final or corrected"),
        (replace(PLAIN, status=ResultStatus.CORRECTED, reviewer=Reviewer(" ")), "OBX-16: a final or corrected"),
        (replace(PLAIN, reviewer=Reviewer("4711")), "OBX-16: a result that a person verified"),
        (replace(PLAIN, follows=PLAIN.reported.replace(microsecond=999_999)), "OBR-22: not later"),
        (
            replace(PLAIN, presence=Presence(detected=True, grade="0", scheme="davis", false_call_percent=1)),
            "exactly when",
        ),
        (
            replace(PLAIN, presence=Presence(detected=False, grade="1+", scheme="davis", false_call_percent=1)),
            "exactly when",
        ),
        (
            replace(PLAIN, presence=Presence(detected=True, grade="1+", scheme="davis", false_call_percent=2.7)),
            "exactly when",
        ),
        (
            replace(PLAIN, presence=Presence(detected=True, grade="1+", scheme="davis", false_call_percent=None)),
            "exactly when",
        ),
        (
            replace(PLAIN, presence=Presence(detected=True, grade="1+", scheme=" ", false_call_percent=1)),
            "scheme's name",
        ),
        (replace(PLAIN, presence=Presence(detected=True, grade="9+", scheme="x", false_call_percent=1)), "grade 9"),
        (replace(PLAIN, presence=Presence(detected=True, grade="1+", scheme="x", false_call_percent=-1)), "false-call"),
        (replace(PLAIN, collected=datetime(2026, 11, 23)), "`collected` has no zone"),  # noqa: DTZ001 - the case itself
        (replace(PLAIN, order=replace(PLAIN.order, accession=" ")), "OBR-3"),
        (replace(PLAIN, patient=Patient("1", "HOSP", sex="female")), "PID-8"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(result: ReportedResult, told: str) -> None:
    with pytest.raises(ResultRefused, match=told):
        build_message(result, PROFILE, "lis")


@pytest.mark.parametrize(
    "setting",
    [
        {"processing_id": "X"},
        {"unverified_status": "F"},
        {"accession_fields": ("OBR-4",)},
        {"sending_application": " "},
    ],
)
def test_a_profile_names_the_key_that_is_wrong(setting: dict[str, object]) -> None:
    with pytest.raises(ProfileError, match=next(iter(setting))):
        Profile(**setting)  # type: ignore[arg-type]


def test_personal_data_stays_out_of_repr() -> None:
    shown = repr(PLAIN) + repr(build_message(PLAIN, PROFILE, "lis"))
    for secret in ("123456", "Mueller", "Zoe", "1980", "26-00412", "PL123"):
        assert secret not in shown


def test_order_numbers_are_echoed_with_their_issuers() -> None:
    numbers = replace(
        PLAIN.order,
        placer="P|1",
        placer_issuer=("LIS", "1.2.3", "ISO"),
        filler="F1",
        filler_issuer=("", "4.5&6", "ISO"),
    )
    body = build_message(replace(PLAIN, order=numbers), PROFILE, "lis").body
    (order,) = [fields(line) for line in segments(body) if line.startswith("ORC")]
    (request,) = [fields(line) for line in segments(body) if line.startswith("OBR")]
    echoed = ["P\\F\\1^LIS^1.2.3^ISO", "F1^^4.5\\T\\6^ISO"]
    assert order[2:4] == echoed
    assert request[2:4] == echoed
