"""The parts of a multipart/related answer (RFC 2046 section 5.1, RFC 2387), as WADO-RS gives instances."""

from __future__ import annotations

from email.message import Message

from integrations.errors import InstanceNotFetched

_MULTIPART, _DICOM = "multipart/related", "application/dicom"


def only_part(content_type: str, body: bytes) -> memoryview:
    """The content of the one part of an answer; a server that sends the instance without an envelope is understood.

    Raises
    ------
    InstanceNotFetched
        There is no part, or more than one.
    """
    kind, boundary = _read(content_type)
    if kind == _DICOM:
        return memoryview(body)
    if kind != _MULTIPART or not boundary:
        raise InstanceNotFetched("the store sent neither multipart/related nor application/dicom")
    found = parts(body, boundary.encode("latin-1", "replace"))
    if len(found) != 1:
        raise InstanceNotFetched(f"the store sent {len(found)} parts where one instance was asked for")
    return found[0]


def parts(body: bytes, boundary: bytes) -> list[memoryview]:
    """The contents of the parts, without their headers.

    A part ends where a line begins with the boundary, so that a boundary within pixels does not end it: it is preceded
    by a line break and followed by another, by blanks and one, or by two hyphens.
    """
    delimiter = b"--" + boundary
    view = memoryview(body)
    found: list[memoryview] = []
    position = 0 if body.startswith(delimiter) else _after_break(body, delimiter, 0)
    while position >= 0:
        position += len(delimiter)
        if body[position : position + 2] == b"--":
            return found
        head_end = body.find(b"\r\n\r\n", position)
        end = _next(body, b"\r\n" + delimiter, head_end + 2)
        if head_end < 0 or end < 0:
            break
        found.append(view[head_end + 4 : max(end, head_end + 4)])
        position = end + 2
    raise InstanceNotFetched("the store's answer is cut off, or is no multipart")


def _after_break(body: bytes, delimiter: bytes, start: int) -> int:
    found = _next(body, b"\r\n" + delimiter, start)
    return found + 2 if found >= 0 else -1


def _next(body: bytes, delimiter: bytes, start: int) -> int:
    """Where the next line that is a delimiter begins; -1 for none."""
    place = body.find(delimiter, start) if start >= 0 else -1
    while place >= 0:
        after = body[place + len(delimiter) : place + len(delimiter) + 2]
        if after in (b"\r\n", b"--") or after[:1] in (b" ", b"\t"):
            return place
        place = body.find(delimiter, place + 1)
    return -1


def _read(content_type: str) -> tuple[str, str]:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary", "")
    return message.get_content_type(), boundary if isinstance(boundary, str) else ""
