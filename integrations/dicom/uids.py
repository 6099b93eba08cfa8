"""UIDs that are derived rather than drawn: the same object of the same version of a case has the same UID whenever it is made."""

from __future__ import annotations

import uuid

_SPACE = uuid.UUID("5c0e1f5a-9d0b-5a43-8f0c-2f3a6f0d7e11")


def derive_uid(*parts: str | int) -> str:
    """Give a UID below 2.25 (PS3.5 B.2), from a version 5 UUID of the parts.

    Parameters
    ----------
    parts : str or int
        What makes the object unique, such as the case's opaque id, the version, and ``sr``. No personal data: a UID
        can be guessed back from them.

    Returns
    -------
    str
        At most 44 characters.
    """
    # Each part with its length, so that ("ab", "c") and ("a", "bc") differ.
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_SPACE, text).int}"
