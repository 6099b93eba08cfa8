"""The message control id (MSH-10), derived from what is sent and to whom.

The same result built twice for the same destination has the same id, so that a receiver which matches repeats by it
finds them. HL7 2.5.1 gives MSH-10 20 characters; 100 bits of SHA-256 in Crockford's base 32 fill them.
"""

from __future__ import annotations

import hashlib

MAX_LENGTH = 20
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O and U: people read these out on the telephone
_CONTROL_ID = 9  # index of MSH-10 when the segment is split at its separator


def derive_control_id(case_id: str, revision: int, destination: str, message: bytes) -> str:
    """Derive the control id of a message.

    Parameters
    ----------
    case_id, revision, destination
        What the message reports, in which version, to whom.
    message : bytes
        The whole message; whatever stands in its MSH-10 does not matter, MSH-7 does.

    Returns
    -------
    str
        20 characters out of digits and capital letters.

    Raises
    ------
    ValueError
        If the bytes are no HL7 message.
    """
    digest = hashlib.sha256()
    for part in (case_id.encode(), str(revision).encode(), destination.encode(), stamp_control_id(message, "")):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    number = int.from_bytes(digest.digest(), "big")
    return "".join(_ALPHABET[(number >> 5 * place) & 31] for place in range(MAX_LENGTH))


def stamp_control_id(message: bytes, control_id: str) -> bytes:
    """Return the message with this MSH-10; nothing else changes.

    Raises
    ------
    ValueError
        If the bytes are no HL7 message, or the id is too long or not made of letters and digits.
    """
    if len(control_id) > MAX_LENGTH or not (control_id == "" or (control_id.isascii() and control_id.isalnum())):
        raise ValueError(f"a control id has at most {MAX_LENGTH} letters and digits")
    header, end, rest = message.partition(b"\r")
    fields = header.split(header[3:4]) if header.startswith(b"MSH") else []
    if len(fields) <= _CONTROL_ID:
        raise ValueError("the message has no MSH-10")
    fields[_CONTROL_ID] = control_id.encode("ascii")
    return header[3:4].join(fields) + end + rest
