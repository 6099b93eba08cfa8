"""Profiles as files: what is shipped, what a site may write, and what is refused with file, key and allowed values."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from flows.checks import _profile
from flows.cli.init import init
from flows.config import check_settings
from flows.wiring import make_profiles
from integrations.errors import ProfileError
from integrations.hl7.ack import AckCode, Decision, Outcome
from integrations.hl7.escape import Charset
from integrations.hl7.profile import Profile, SendPictures, Value
from integrations.hl7.profile_file import SHIPPED, load_profile, read_profile, shipped_profiles
from integrations.hl7.versions import MessageType, Version


def read(toml: str) -> Profile:
    return read_profile(tomllib.loads(toml), "site", "site.toml")


def test_the_default_file_shows_every_key_with_its_default() -> None:
    assert load_profile("default", Path()) == Profile()
    text = (SHIPPED / "default.toml").read_text()
    with pytest.raises(ProfileError) as refused:
        read("nothing = 1")
    keys = str(refused.value).split("known are ")[1].split(", ")
    content = tomllib.loads(text)
    assert [key for key in keys if key not in content] == []
    for table, key in (("acknowledgement", "meaning"), ("pictures", "nothing"), ("codes", "nothing")):
        if key == "nothing":
            with pytest.raises(ProfileError) as refused:
                read(f"[{table}]\nnothing = 1")
            assert set(str(refused.value).split("known are ")[1].split(", ")) == set(content[table])


def test_what_is_shipped() -> None:
    profiles = {name: load_profile(name, Path()) for name in shipped_profiles()}
    assert {profile.version for profile in profiles.values()} == set(Version)
    assert {profile.message for profile in profiles.values()} == set(MessageType)
    assert all(profile.name == name for name, profile in profiles.items())
    assert profiles["enhanced"].ack_policy.decide(Outcome.ACKNOWLEDGED, AckCode.CA) is Decision.AWAIT


def test_a_site_changes_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "lis.toml").write_text(
        """
        version = "2.4"
        charset = "8859/1"
        receiving_application = "LIS"
        placer = "none"
        [acknowledgement.meaning]
        AE = "retry"
        AR = "park"
        [pictures]
        send = "pointer"
        [codes]
        panel = { code = "SPH", text = "Sphärozyten", system = "L" }
        [codes.grade]
        0 = { code = "neg", text = "negative" }
        strong = { code = "pos", text = "positive" }
        [[observation]]
        value = "finding"
        [[observation]]
        value = "percent"
        code = "4711"
        text = "Sphaerozyten"
        system = "L"
        unit = { code = "%", text = "Prozent", system = "L" }
        [[observation]]
        value = "picture"
        """
    )
    profile = load_profile("lis.toml", tmp_path, sending_application="SPH2", sending_facility="LAB")
    assert (profile.name, profile.version, profile.charset) == ("lis", Version.V2_4, Charset.LATIN_1)
    assert (profile.sending_application, profile.sending_facility, profile.placer) == ("SPH2", "LAB", "none")
    assert profile.accession_fields == ("OBR-18",), "there is no SPM before 2.5"
    assert profile.pictures.send is SendPictures.POINTER
    assert [each.value for each in profile.observations] == [Value.FINDING, Value.PERCENT, Value.PICTURE]
    assert profile.observations[0].code.identifier == "6742-1"
    assert profile.observations[1].unit is not None
    assert profile.observations[1].unit.text == "Prozent"
    assert (profile.codes.grade["0"].identifier, profile.codes.grade["strong"].system) == ("neg", "99SPH")
    policy = profile.ack_policy
    assert policy.decide(Outcome.REJECTED, AckCode.AE) is Decision.RETRY
    assert policy.decide(Outcome.REJECTED, AckCode.AR) is Decision.PARK
    assert policy.decide(Outcome.ACKNOWLEDGED, AckCode.AA) is Decision.DELIVERED


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('version = "2.6"', 'version: must be one of "2.3", "2.3.1", "2.4", "2.5", "2.5.1"'),
        (
            'receiving_aplication = "x"',
            "receiving_aplication: there is no such key; did you mean receiving_application?",
        ),
        ("processing_id = 4", 'processing_id: must be one of "P", "T", "D"'),
        ('time_zone = "yes"', "time_zone: must be true or false"),
        ('accession_fields = ["OBR-4"]', 'accession_fields: must be a list of texts out of "OBR-3", "OBR-18", "SPM-2"'),
        ('accession_fields = "OBR-3"', "accession_fields: must be a list of texts"),
        (
            'version = "2.4"\naccession_fields = ["SPM-2"]',
            "accession_fields: SPM-2 needs version 2.5 or 2.5.1, not 2.4",
        ),
        ('version = "2.4"\nmessage = "OUL^R22"', "message OUL^R22 needs version 2.5 or 2.5.1, not 2.4"),
        ('version = "2.3"\nprofile_id = ["x"]', "profile_id (MSH-21) needs version 2.4 or later"),
        ('equipment = " "', "equipment is empty"),
        ('receiving_facility = "a\\u0007"', "receiving_facility: holds the control character U+0007"),
        (
            'charset = "ASCII"\nreceiving_facility = "Ü"',
            "receiving_facility: holds U+00DC, which the character set ASCII",
        ),
        (f'equipment = "{"x" * 200}"', "equipment: must have at most 199 characters"),
        ('[acknowledgement]\naccept = "NE"', "accept or application must be AL"),
        ('[acknowledgement]\naccept = "SU"', '[acknowledgement] accept: must be one of "", "AL", "NE"'),
        ('[acknowledgement.meaning]\nAE = "ignore"', 'AE: must be one of "delivered", "park", "retry", "resend"'),
        (
            '[acknowledgement.meaning]\nAQ = "park"',
            "[acknowledgement.meaning] AQ: there is no such key; known are AA, AE",
        ),
        ('[pictures]\nsend = "yes"', '[pictures] send: must be one of "none", "embedded", "pointer"'),
        ("[pictures]\nmost = true", "[pictures] most: must be a whole number from 1 to 50"),
        ("[pictures]\nmost = 50\nmax_bytes = 4000000", "must stay below"),
        ('[pictures]\nurl = "ftp://x"', "[pictures] url: must be empty or begin with http://"),
        ("codes = 3", "codes: must be a table"),
        ('[codes]\npanel = { code = "x" }', "[codes.panel] text: must be given"),
        (
            '[codes]\npanel = { code = "x", text = "y", sytem = "z" }',
            "[codes.panel] sytem: there is no such key; did you",
        ),
        ("observation = []", "observation: must be given as one or more [[observation]] blocks"),
        ('[[observation]]\ncode = "x"', "[[observation]] 1: value: must be given, one of"),
        ('[[observation]]\nvalue = "picture"', "[[observation]]: at least one must have as value one of percent"),
        ('[[observation]]\nvalue = "finding"\nunit = { code = "x", text = "y" }', "unit: only a number has one"),
        ('[[observation]]\nvalue = "finding"\n[[observation]]\nvalue = "finding"', "a value stands twice"),
        (
            '[pictures]\nsend = "embedded"\n[[observation]]\nvalue = "finding"',
            '[pictures] send: there is no [[observation]] with value "picture"',
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_key_and_what_is_allowed(toml: str, told: str) -> None:
    with pytest.raises(ProfileError) as refused:
        read(toml)
    assert str(refused.value).startswith("site.toml: ")
    assert told in str(refused.value)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(ProfileError) as refused:
        read('version = "9"\nplacr = "echo"\n[pictures]\nmost = 0\n[codes]\nspecimen = 1')
    assert all(key in str(refused.value) for key in ("version:", "placr:", "[pictures] most:", "specimen:"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("nothing", None, "neither one of default, enhanced, hl7-2.3"),
        ("nothing.toml", None, "cannot be read"),
        ("bad.toml", b"version = ", "is not valid TOML"),
        ("bad.toml", b"\xff", "is not valid TOML"),
    ],
)
def test_a_file_that_is_none_is_refused_at_start(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    destination = {"name": "lis", "host": "h", "port": 1, "profile": name}
    settings = check_settings({"hl7": {"destination": [destination]}}, tmp_path)
    with pytest.raises(ProfileError, match=told):
        make_profiles(settings)


def test_the_settings_name_the_sender_where_the_profile_does_not(tmp_path: Path) -> None:
    destination = {"name": "lis", "host": "h", "port": 1, "profile": "hl7-2.3"}
    values = {"site": {"name": "LAB"}, "hl7": {"sending_application": "SPH2", "destination": [destination]}}
    profile = make_profiles(check_settings(values, tmp_path))["lis"]
    assert (profile.sending_application, profile.sending_facility, profile.version) == ("SPH2", "LAB", Version.V2_3)


def test_the_readme_names_every_shipped_profile() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    assert [name for name in shipped_profiles() if f"`{name}`" not in readme] == []


def test_init_writes_a_profile_with_every_key_and_leaves_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "lis.toml").write_text('version = "2.4"\n')
    init(tmp_path / "new")
    init(tmp_path / "kept")
    assert load_profile("lis.toml", tmp_path / "new") == replace(Profile(), name="lis")
    assert load_profile("lis.toml", tmp_path / "kept").version is Version.V2_4


@pytest.mark.parametrize(
    ("toml", "state", "told"),
    [
        ('version = "2.4"', "ok", "site: ORU^R01, HL7 2.4, UNICODE UTF-8"),
        ('version = "2.9"', "fail", 'version: must be one of "2.3"'),
        ('[pictures]\nsend = "pointer"', "note", "this machine only"),
        ('[pictures]\nsend = "pointer"\nurl = "http://sphero.example:8080"', "ok", "HL7 2.5.1"),
        ('[codes.grade]\n"1+" = { code = "1+", text = "+\\u0085" }', "ok", "HL7 2.5.1"),
    ],
)
def test_doctor_tries_the_profile_of_each_destination(tmp_path: Path, toml: str, state: str, told: str) -> None:
    (tmp_path / "site.toml").write_text(toml)
    destination = {"name": "lis", "host": "127.0.0.1", "port": 1, "profile": "site.toml"}
    settings = check_settings({"hl7": {"destination": [destination]}}, tmp_path)
    check = _profile(settings, settings.hl7.destination[0])
    assert (check.name, check.state) == ("profile lis", state)
    assert told in check.found
    assert (check.remedy == "") is (state == "ok")
