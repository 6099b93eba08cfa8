"""Every status of a result in every profile that is shipped: what changes, what stays, and that it conforms."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import hl7
import pytest

from integrations.hl7.conformance import violations
from integrations.hl7.message import build_message
from integrations.hl7.profile import OBSERVATIONS, PictureChoice, Profile, ReportChoice, SendPictures, Value
from integrations.hl7.profile_file import load_profile, shipped_profiles
from integrations.hl7.result import Document, Picture, Presence, ReportedResult, ResultStatus
from integrations.hl7.sample import SAMPLES
from integrations.hl7.versions import MessageType, Version
from tests.hl7_examples import PLAIN, PROFILE

JPEG = b"\xff\xd8\xff\xe0 not a picture |^~\\& \r\n"
PROFILES = [load_profile(name, Path()) for name in shipped_profiles()]
PRESENT = Presence(detected=True, grade="1+", scheme="davis", false_call_percent=1.0)
FINAL = SAMPLES[ResultStatus.FINAL]


def parsed(result: ReportedResult, profile: Profile) -> hl7.Message:
    return hl7.parse(build_message(result, profile, "lis").body.decode(profile.charset.codec))


def column(message: hl7.Message, segment: str, field: int) -> list[str]:
    return [str(row[field]) if len(row) > field else "" for row in message.segments(segment)]


@pytest.mark.parametrize("status", list(ResultStatus))
@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_status_conforms_in_every_profile(profile: Profile, status: ResultStatus) -> None:
    profile = replace(profile, pictures=PictureChoice(SendPictures.EMBEDDED))
    result = replace(SAMPLES[status], pictures=(Picture(JPEG), Picture()))
    message = parsed(result, profile)
    names = [str(segment[0]) for segment in message if str(segment[0]) not in ("NTE", "OBX")]
    begin = ["MSH", "SFT"] if profile.dialect.has_software else ["MSH"]
    if profile.message is MessageType.OUL_R22:
        assert names == [*begin, "PID", "PV1", "SPM", "OBR", "ORC"]
    else:
        assert names == [*begin, "PID", "PV1", "ORC", "OBR", *(["SPM"] if profile.dialect.has_specimen else [])]
    assert str(message["MSH"][0][9]) == profile.dialect.structure(profile.message)
    assert str(message["MSH"][0][12]) == profile.version
    assert not list(violations(build_message(result, profile, "lis").body, time_zone=profile.time_zone))


@pytest.mark.parametrize(
    ("status", "whole", "each"),
    [
        (ResultStatus.UNVERIFIED, "P", "P"),
        (ResultStatus.FINAL, "F", "F"),
        (ResultStatus.CORRECTED, "C", "C"),
        (ResultStatus.WRONG_PATIENT, "C", "W"),
        (ResultStatus.NOT_OBTAINED, "X", "X"),
    ],
)
def test_what_a_status_says(status: ResultStatus, whole: str, each: str) -> None:
    message = parsed(SAMPLES[status], PROFILE)
    assert column(message, "OBR", 25) == [whole]
    assert set(column(message, "OBX", 11)) == {each}


def test_each_version_has_the_full_set_a_new_control_id_and_a_later_time() -> None:
    samples = [replace(sample, presence=sample.presence or PRESENT) for sample in SAMPLES.values()]
    messages = [parsed(sample, PROFILE) for sample in samples]
    codes = {tuple(column(message, "OBX", 3)) for message in messages}
    assert len(codes) == 1
    assert len(codes.pop()) == len(OBSERVATIONS) - 2, "all but picture and report"
    assert len({str(message["MSH"][0][10]) for message in messages}) == len(messages)
    by_revision = sorted(SAMPLES.values(), key=lambda sample: sample.revision)
    final, corrected = SAMPLES[ResultStatus.FINAL], SAMPLES[ResultStatus.CORRECTED]
    times = [column(parsed(sample, PROFILE), "OBR", 22)[0] for sample in (by_revision[0], final, corrected)]
    assert times == sorted(set(times))


def test_who_verified_stands_in_every_observation() -> None:
    message = parsed(FINAL, PROFILE)
    assert set(column(message, "OBX", 16)) == {"4711^Pruefer^Anna^^^^^^HOSP"}
    assert column(message, "OBR", 32) == ["4711&Pruefer&Anna&&&&&&HOSP"]
    assert "Counted by software; not verified by a person." not in str(message)
    unverified = parsed(SAMPLES[ResultStatus.UNVERIFIED], PROFILE)
    assert set(column(unverified, "OBX", 16)) == {""}
    assert "Counted by software; not verified by a person." in column(unverified, "NTE", 3)


def test_what_is_corrected_or_wrong_is_said_in_words() -> None:
    corrected = column(parsed(SAMPLES[ResultStatus.CORRECTED], PROFILE), "NTE", 3)
    assert "Corrected result; it replaces the one reported before." in corrected
    assert "Field 6 came late." in corrected
    wrong = column(parsed(SAMPLES[ResultStatus.WRONG_PATIENT], PROFILE), "NTE", 3)
    assert "Reported for the wrong patient: disregard this result." in wrong


@pytest.mark.parametrize(
    ("presence", "value", "flag"),
    [
        (PRESENT, "260373001^Detected^SCT^1+^1+^99SPH", "A"),
        (Presence(False, "0", "davis", 1.0), "260415000^Not detected^SCT^0^0^99SPH", "N"),
        (Presence(False, "1+", "davis", 2.63), "260415000^Not detected^SCT^1+^1+^99SPH", "N"),
    ],
)
def test_presence_is_told_with_its_grade_and_scheme(presence: Presence, value: str, flag: str) -> None:
    message = parsed(replace(PLAIN, presence=presence), PROFILE)
    first = message.segments("OBX")[0]
    assert [str(first[place]) for place in (2, 3, 5, 8)] == [
        "CWE",
        "802-9^Spherocytes [Presence] in Blood by Light microscopy^LN",
        value,
        flag,
    ]
    assert column(message, "NTE", 3)[0] == f"Grade {presence.grade} by the scheme davis."
    assert set(column(message, "OBX", 8)[1:]) == {""}, "no range is given for a number"


def test_why_spherocytes_are_detected_or_not_is_told_beside_the_grade() -> None:
    unmeasured = Presence(False, "1+", "icsh & ours", None, reason="Not detected: the false calls were not measured.")
    notes = column(parsed(replace(PLAIN, presence=unmeasured), PROFILE), "NTE", 3)
    assert notes[:2] == ["Grade 1+ by the scheme icsh \\T\\ ours.", unmeasured.reason]


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4"])
def test_before_2_5_codes_are_ce_and_the_specimen_stands_in_the_request(version: str) -> None:
    profile = load_profile(f"hl7-{version}", Path())
    patient = replace(FINAL.patient, sex="N") if FINAL.patient else None
    message = parsed(replace(FINAL, patient=patient), profile)
    assert column(message, "OBX", 2)[0] == "CE"
    assert column(message, "OBR", 15) == ["119297000&Blood specimen&SCT"]
    assert column(message, "OBR", 18) == ["26-00412"]
    assert (column(message, "OBX", 18)[0] != "") is (version == "2.4")
    assert column(message, "PID", 8) == [{"2.3": "U", "2.3.1": "U", "2.4": "N"}[version]]


def test_2_3_has_no_status_for_a_wrong_patient_and_deletes() -> None:
    message = parsed(SAMPLES[ResultStatus.WRONG_PATIENT], load_profile("hl7-2.3", Path()))
    assert (column(message, "OBR", 25), set(column(message, "OBX", 11))) == (["C"], {"D"})


def test_times_without_their_zone() -> None:
    message = parsed(PLAIN, replace(PROFILE, time_zone=False))
    assert column(message, "OBR", 22) == ["20261123101500"]
    assert column(message, "OBX", 19)[0] == "20261123101430"


def test_which_answers_are_asked_for() -> None:
    message = parsed(PLAIN, load_profile("enhanced", Path()))
    assert [str(message["MSH"][0][place]) for place in (15, 16)] == ["AL", "AL"]


def test_the_message_profile_is_named() -> None:
    message = parsed(PLAIN, replace(PROFILE, profile_id=("LAB-29", "IHE|")))
    assert str(message["MSH"][0][21]) == "LAB-29^IHE\\F\\"


def test_the_accession_number_goes_before_the_filler_where_the_profile_says_so() -> None:
    result = replace(PLAIN, order=replace(PLAIN.order, filler="F-77"))
    message = parsed(result, replace(PROFILE, accession_fields=("OBR-3",), placer="none"))
    assert (column(message, "OBR", 2), column(message, "OBR", 3)) == ([""], ["26-00412^LIS"])
    assert (column(message, "ORC", 2), column(message, "ORC", 3)) == ([""], ["26-00412^LIS"])


def test_a_site_chooses_its_observations_and_the_notes_still_come() -> None:
    chosen = tuple(each for each in OBSERVATIONS if each.value in (Value.PERCENT, Value.PRESENCE))
    message = parsed(PLAIN, replace(PROFILE, observations=chosen))
    assert [code.split("^")[0] for code in column(message, "OBX", 3)] == ["SPHPCT"]
    assert "Counted in 5 fields." in column(message, "NTE", 3)


def test_pictures_embedded_or_by_pointer_and_those_that_are_gone() -> None:
    pictures = (Picture(JPEG, "http://sphero:8080/pictures/1?a&b"), Picture())
    embedded = parsed(
        replace(PLAIN, pictures=pictures), replace(PROFILE, pictures=PictureChoice(SendPictures.EMBEDDED))
    )
    assert column(embedded, "OBX", 4)[-2:] == ["1", "2"]
    assert column(embedded, "OBX", 5)[-2:] == [f"SPHERO^IM^JPEG^Base64^{base64.b64encode(JPEG).decode()}", ""]
    assert column(embedded, "OBX", 11)[-2:] == ["P", "X"]
    pointer = parsed(replace(PLAIN, pictures=pictures), replace(PROFILE, pictures=PictureChoice(SendPictures.POINTER)))
    assert column(pointer, "OBX", 5)[-2:] == ["http://sphero:8080/pictures/1?a\\T\\b^SPHERO^IM^JPEG", ""]
    assert column(pointer, "OBX", 2)[-2:] == ["RP", "RP"]
    assert "72170-4" not in str(parsed(replace(PLAIN, pictures=pictures), PROFILE))


def test_the_report_is_embedded_or_pointed_to_and_one_that_is_gone_is_told() -> None:
    pdf, address = b"%PDF-1.7 |^~\\& \r\n", "http://sphero:8080/reports/1.pdf?a&b"
    result, embed = replace(PLAIN, document=Document(pdf, address)), ReportChoice(SendPictures.EMBEDDED)
    embedded = parsed(result, replace(PROFILE, report=embed))
    assert column(embedded, "OBX", 5)[-1] == f"SPHERO^AP^PDF^Base64^{base64.b64encode(pdf).decode()}"
    point = ReportChoice(SendPictures.POINTER, "application", "pdf")
    pointer = parsed(result, replace(PROFILE, report=point))
    assert column(pointer, "OBX", 5)[-1] == "http://sphero:8080/reports/1.pdf?a\\T\\b^SPHERO^application^pdf"
    gone = parsed(replace(PLAIN, document=Document(note="Too large.")), replace(PROFILE, report=embed))
    assert (column(gone, "OBX", 5)[-1], column(gone, "OBX", 11)[-1]) == ("", "X")
    assert column(gone, "NTE", 3)[-1] == "Too large."
    assert "11502-2" not in str(parsed(result, PROFILE))


def test_every_version_is_tried() -> None:
    assert {profile.version for profile in PROFILES} == set(Version)
