"""A refused message that a person corrected: what may be changed, and which control id it gets."""

from __future__ import annotations

from db.views import MessageView
from integrations.errors import ConformanceError
from integrations.hl7.conformance import MAX_SEGMENTS, require_conformance
from integrations.hl7.control_id import derive_control_id, stamp_control_id
from integrations.hl7.er7 import Segment, split_segments


def text_of(body: bytes) -> bytes:
    """A message with one segment a line, as a person edits it; in its own character set."""
    return body.replace(b"\r", b"\n")


def corrected(message: MessageView, text: bytes) -> tuple[bytes, str]:
    """Give the bytes of a corrected message and its control id.

    Parameters
    ----------
    message : MessageView
        The refused one.
    text : bytes
        One segment a line, in the character set that the message names; its MSH-10 does not matter.

    Raises
    ------
    ConformanceError
        Nothing was changed, or what may not be; or the message breaks a rule.
    """
    if message.part:
        raise ConformanceError(("a DICOM object is not edited: correct the case, and a new version replaces it",))
    body = b"".join(
        line + b"\r" for line in text.replace(b"\r\n", b"\r").replace(b"\n", b"\r").split(b"\r") if line.strip()
    )
    try:
        was, is_now = _segments(message.body), _segments(body)
        blank, before = stamp_control_id(body, ""), stamp_control_id(message.body, "")
    except ValueError as error:
        raise ConformanceError((f"what was written cannot be read as a message: it {error}",)) from None
    if blank == before:
        raise ConformanceError(("nothing was changed; `sphero message resend` sends the same bytes again",))
    if _statuses(was) != _statuses(is_now):
        raise ConformanceError(("OBR-25 and OBX-11 say who stands behind the result; an edit may not change them",))
    # The edition goes in as well: a text that is changed back gets a control id of its own.
    control_id = derive_control_id(
        message.case_id, message.revision, f"{message.destination}/{message.edition + 1}", blank
    )
    body = stamp_control_id(body, control_id)
    moment = was[0].field(7)
    require_conformance(body, time_zone="+" in moment or "-" in moment)
    return body, control_id


def _segments(body: bytes) -> tuple[Segment, ...]:
    return split_segments(body.decode("latin-1"), MAX_SEGMENTS)


def _statuses(segments: tuple[Segment, ...]) -> list[str]:
    places = {"OBR": 25, "OBX": 11}
    return [each.field(places[each.name]) for each in segments if each.name in places]
