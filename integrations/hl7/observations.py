"""Which OBX a message has and what stands in each, from the result and the profile.

The program reports spherocytes: their share, number and grade, never a disease, and no "detected" or "not detected" where
there is no grade to rest it on. All observations are there in each version, so that a later one overwrites each of an
earlier.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

from integrations.errors import ResultRefused
from integrations.hl7.escape import Charset, escape_lines, escape_text
from integrations.hl7.profile import Code, Observation, Profile, SendPictures, Value
from integrations.hl7.result import Document, Picture, ReportedResult, ResultStatus
from sphero_core.case_facts import seen_beside
from sphero_core.types import CaseCounts

PRODUCT = "SPHERO"

NOTE_DECISION_SUPPORT = "Decision support: correlate with DAT, reticulocytes, MCHC, EMA binding and family history."
NOTE_UNVERIFIED = "Counted by software; not verified by a person."
NOTE_RELEASED = "Released as final by software, by a rule of the laboratory; not verified by a person."
NOTE_WRONG_PATIENT = "Reported for the wrong patient: disregard this result."
NOTE_CORRECTED = "Corrected result; it replaces the one reported before."


@dataclass(frozen=True, slots=True)
class Row:
    """One OBX with its notes; everything is escaped.

    Attributes
    ----------
    observation : Observation
    data_type : str
        OBX-2.
    sub_id : str
        OBX-4.
    value : tuple of str
        Components of OBX-5; none where there is no value.
    abnormal : str
        OBX-8.
    status : str
        OBX-11.
    notes : tuple of str
        NTE-3, one each.
    """

    observation: Observation
    data_type: str
    value: tuple[str, ...] = ()
    sub_id: str = ""
    abnormal: str = ""
    status: str = ""
    notes: tuple[str, ...] = ()


class Texts:
    """Texts of one message, escaped for its character set."""

    def __init__(self, charset: Charset) -> None:
        self._charset = charset

    def one(self, text: str, field: str) -> str:
        """One line, escaped."""
        return escape_text(text, field, self._charset)

    def lines(self, text: str, field: str) -> tuple[str, ...]:
        """Each line, escaped."""
        return escape_lines(text, field, self._charset)

    def code(self, code: Code, field: str) -> tuple[str, str, str]:
        """Identifier, text and system, escaped."""
        return (
            self.one(code.identifier, f"{field} identifier"),
            self.one(code.text, f"{field} text"),
            self.one(code.system, f"{field} system"),
        )


def status_of(result: ReportedResult, profile: Profile) -> tuple[str, str]:
    """OBR-25 and OBX-11 of a result."""
    return {
        ResultStatus.UNVERIFIED: (profile.unverified_status, profile.unverified_status),
        ResultStatus.FINAL: ("F", "F"),
        ResultStatus.RELEASED: ("F", "F"),
        ResultStatus.CORRECTED: ("C", "C"),
        ResultStatus.WRONG_PATIENT: ("C", profile.dialect.wrong_patient),
        ResultStatus.NOT_OBTAINED: ("X", "X"),
    }[result.status]


def rows_of(result: ReportedResult, profile: Profile, texts: Texts) -> tuple[Row, ...]:
    """The full set of observations, in the profile's order."""
    rows: list[Row] = []
    for observation in profile.observations:
        if not profile.sends(observation.value):
            continue
        if observation.value is Value.PICTURE:
            rows += _pictures(observation, result, profile, texts)
        elif observation.value is Value.REPORT:
            rows.append(_report(observation, result, profile, texts))
        elif observation.value is not Value.PRESENCE or result.presence is not None or result.counts is None:
            rows.append(_row(observation, result, profile, texts))
    status = status_of(result, profile)[1]
    rows = [replace(row, status=status if row.value else "X") for row in rows]
    bearer = _bearer(rows)
    common = tuple(line for note in _notes(result) for line in texts.lines(note, "NTE-3 note"))
    rows[bearer] = replace(rows[bearer], notes=(*rows[bearer].notes, *common))
    if result.counts is None and bearer != 0:
        # Some receivers show the notes of the first observation only.
        rows[0] = replace(rows[0], notes=(*rows[0].notes, *common))
    return tuple(rows)


def _row(observation: Observation, result: ReportedResult, profile: Profile, texts: Texts) -> Row:
    counts, value = result.counts, observation.value
    data_type = {Value.PRESENCE: profile.dialect.coded, Value.FINDING: "TX"}.get(value, "NM")
    if counts is None:
        return Row(observation, data_type)
    if value is Value.PRESENCE:
        return _presence(observation, result, profile, texts)
    if value is Value.FINDING:
        return Row(observation, data_type, (texts.one(finding_text(counts), "OBX-5 finding"),))
    if value is Value.PERCENT:
        if counts.spherocyte_percent is None:
            return Row(observation, data_type, notes=("No red cell was counted.",))
        return Row(observation, data_type, (f"{counts.spherocyte_percent:.1f}",))
    return Row(observation, data_type, (str(counts.red_cells if value is Value.EVALUATED else counts.spherocytes),))


def _presence(observation: Observation, result: ReportedResult, profile: Profile, texts: Texts) -> Row:
    presence = result.presence
    assert presence is not None  # noqa: S101 - asked before
    grade = profile.codes.grade.get(presence.grade)
    if grade is None:
        raise ResultRefused(f"OBX-5: the profile has no code for the grade {presence.grade}; see [codes.grade]")
    found = profile.codes.detected if presence.detected else profile.codes.not_detected
    value = (*texts.code(found, "OBX-5 presence"), *texts.code(grade, "OBX-5 grade"))
    said = [f"Grade {presence.grade} by the scheme {presence.scheme}."]
    if presence.reason:
        said.append(presence.reason)
    notes = tuple(texts.one(each, "NTE-3 grade") for each in said)
    return Row(observation, profile.dialect.coded, value, abnormal="A" if presence.detected else "N", notes=notes)


def _pictures(observation: Observation, result: ReportedResult, profile: Profile, texts: Texts) -> list[Row]:
    data_type = "ED" if profile.pictures.send is SendPictures.EMBEDDED else "RP"
    return [
        Row(
            observation,
            data_type,
            _picture(picture, data_type, texts) if result.counts is not None else (),
            sub_id=str(number),
        )
        for number, picture in enumerate(result.pictures, start=1)
    ]


def _picture(picture: Picture, data_type: str, texts: Texts) -> tuple[str, ...]:
    if data_type == "ED" and picture.jpeg is not None:
        return (PRODUCT, "IM", "JPEG", "Base64", base64.b64encode(picture.jpeg).decode("ascii"))
    if data_type == "RP" and picture.url is not None:
        return (texts.one(picture.url, "OBX-5 picture's address"), PRODUCT, "IM", "JPEG")
    return ()


def _report(observation: Observation, result: ReportedResult, profile: Profile, texts: Texts) -> Row:
    choice, document = profile.report, result.document if result.counts is not None else Document()
    kind = (
        texts.one(choice.type_of_data, "OBX-5 type of the report"),
        texts.one(choice.subtype, "OBX-5 subtype of the report"),
    )
    notes = (texts.one(document.note, "NTE-3 report"),) if document.note else ()
    data_type = "ED" if choice.send is SendPictures.EMBEDDED else "RP"
    value: tuple[str, ...] = ()
    if data_type == "ED" and document.pdf is not None:
        value = (PRODUCT, *kind, "Base64", base64.b64encode(document.pdf).decode("ascii"))
    if data_type == "RP" and document.url is not None:
        value = (texts.one(document.url, "OBX-5 report's address"), PRODUCT, *kind)
    return Row(observation, data_type, value, notes=notes)


def _notes(result: ReportedResult) -> tuple[str, ...]:
    """What a reader must know of the whole result."""
    if result.counts is None:
        return (f"No result: {result.not_obtained}", result.comment)
    special = {
        ResultStatus.UNVERIFIED: (NOTE_UNVERIFIED,),
        ResultStatus.RELEASED: (NOTE_RELEASED,),
        ResultStatus.CORRECTED: (NOTE_CORRECTED,),
        ResultStatus.WRONG_PATIENT: (NOTE_WRONG_PATIENT,),
    }.get(result.status, ())
    return (*seen_beside(result.counts), *result.counts.limitations, NOTE_DECISION_SUPPORT, *special, result.comment)


def _bearer(rows: list[Row]) -> int:
    """Which row carries the notes: the finding, or else the last one that is neither picture nor report."""
    places = {row.observation.value: place for place, row in enumerate(rows)}
    others = [place for value, place in places.items() if value not in (Value.PICTURE, Value.REPORT)]
    return places.get(Value.FINDING, others[-1])


def finding_text(counts: CaseCounts) -> str:
    """The result in one line, such as ``Spherocytes 62/1842 RBC (3.4 %), 95 % CI 2.6-4.3``."""
    text = f"Spherocytes {counts.spherocytes}/{counts.red_cells} RBC"
    if counts.spherocyte_percent is not None:
        text += f" ({counts.spherocyte_percent:.1f} %)"
    if counts.ci95 is not None:
        text += f", 95 % CI {counts.ci95[0]:.1f}-{counts.ci95[1]:.1f}"
    return text
