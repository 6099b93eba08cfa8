"""An audit event as a DICOM audit message (PS3.15 A.5, the XML schema of A.5.1).

What happened is a code of context group 400, or 401 where the standard has one; our own words stand beside it under the
scheme ``99SPHERO``. Each message carries the event's number and hashes, so that a repository can show the chain is whole.
"""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime

SCHEME = "99SPHERO"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IMPORT, _EXPORT = ("110107", "Import"), ("110106", "Export")
_ORDER, _PATIENT = ("110109", "Order Record"), ("110110", "Patient Record")
_PROCEDURE, _APPLICATION = ("110111", "Procedure Record"), ("110100", "Application Activity")
_SECURITY = ("110113", "Security Alert")
_TYPES = {
    "service started": ("110120", "Application Start"),
    "database restored": ("110132", "Use of Restricted Function"),
}
_KINDS: tuple[tuple[tuple[str, ...], tuple[str, str], str], ...] = (
    (("service ",), _APPLICATION, "E"),
    (("database restored",), _SECURITY, "E"),
    (("field accepted", "late field", "instance ", "message received", "message repeated"), _IMPORT, "C"),
    (("message ", "late answer", "case exported", "report file", "commitment "), _EXPORT, "R"),
    (("order ",), _ORDER, "U"),
    (("patient ",), _PATIENT, "U"),
    (("case open",), _PROCEDURE, "C"),
    (("files removed", "findings removed", "case rejected"), _PROCEDURE, "D"),
)
_FAULTS = ("refused", "failed", "quarantined", "conflict", "parked", "given-up")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One event of the chain; `detail` is canonical JSON without personal data."""

    sequence: int
    at: datetime
    actor: str
    action: str
    case_id: str | None
    detail: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditSource:
    """Who reports: the program on one machine.

    Attributes
    ----------
    source_id : str
        Unique among those that report to the repository.
    site : str
        The laboratory; may be empty.
    host : str
        Name of the machine.
    """

    source_id: str
    site: str
    host: str


def build_audit_message(record: AuditRecord, source: AuditSource) -> bytes:
    """Return an event as XML in UTF-8, without a declaration and without line breaks."""
    root = ET.Element("AuditMessage")
    _event(root, record)
    actor = ET.SubElement(root, "ActiveParticipant", UserID=_text(record.actor) or "unknown", UserIsRequestor="true")
    program = ET.SubElement(
        root,
        "ActiveParticipant",
        UserID="spheroflow",
        AlternativeUserID=_text(source.source_id),
        UserIsRequestor="false",
        NetworkAccessPointID=_text(source.host),
        NetworkAccessPointTypeCode="1",
    )
    _code(program, "RoleIDCode", "110150", "DCM", "Application")
    if record.action.startswith("service "):
        _code(actor, "RoleIDCode", "110151", "DCM", "Application Launcher")
    reported = ET.SubElement(root, "AuditSourceIdentification", AuditSourceID=_text(source.source_id))
    if source.site:
        reported.set("AuditEnterpriseSiteID", _text(source.site))
    ET.SubElement(reported, "AuditSourceTypeCode", {"csd-code": "4"})
    if record.case_id is not None:
        _object(root, record.case_id, "3", "case", "Case", {})
    _object(
        root,
        str(record.sequence),
        "13",
        "event",
        "Audit event",
        {"detail": record.detail, "previous hash": record.previous_hash, "hash": record.hash},
    )
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=False)
    return written


def _event(root: ET.Element, record: AuditRecord) -> None:
    (code, meaning), action = _kind(record)
    failed = any(word in record.action for word in _FAULTS)
    event = ET.SubElement(
        root,
        "EventIdentification",
        EventActionCode=action,
        EventDateTime=record.at.astimezone(UTC).isoformat(timespec="microseconds"),
        EventOutcomeIndicator="4" if failed else "0",
    )
    _code(event, "EventID", code, "DCM", meaning)
    if record.action in _TYPES:
        _code(event, "EventTypeCode", _TYPES[record.action][0], "DCM", _TYPES[record.action][1])
    _code(event, "EventTypeCode", record.action, SCHEME, record.action)


def _kind(record: AuditRecord) -> tuple[tuple[str, str], str]:
    """What happened, as a code of context group 400, and EventActionCode."""
    for beginnings, code, action in _KINDS:
        if record.action.startswith(beginnings):
            return code, action
    return (_APPLICATION, "E") if record.case_id is None else (_PROCEDURE, "U")


def _object(root: ET.Element, identifier: str, role: str, kind: str, name: str, details: dict[str, str]) -> None:
    thing = ET.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=identifier,
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole=role,
    )
    _code(thing, "ParticipantObjectIDTypeCode", kind, SCHEME, name)
    ET.SubElement(thing, "ParticipantObjectName").text = name
    for key, value in details.items():
        encoded = base64.b64encode(value.encode()).decode()
        ET.SubElement(thing, "ParticipantObjectDetail", type=key, value=encoded)


def _code(parent: ET.Element, name: str, code: str, scheme: str, meaning: str) -> None:
    given = {"csd-code": _text(code), "codeSystemName": scheme, "originalText": _text(meaning)}
    ET.SubElement(parent, name, given)


def _text(text: str) -> str:
    """What XML can hold; line breaks and tabs, which an attribute would lose, become blanks."""
    return " ".join(_NO_XML.sub("\ufffd", text).split())
