"""Why a case is held, in words."""

from __future__ import annotations

from db.states import HoldReason

_HELD = {
    HoldReason.NO_PATIENT: "no patient is named for it",
    HoldReason.UNMATCHED_ORDER: "no order of the LIS fits it",
    HoldReason.CANCELLED_ORDER: "its order was cancelled",
    HoldReason.CONFLICT: "what is said about it contradicts itself",
    HoldReason.FAILED_QUALITY: "its images are not good enough",
    HoldReason.ATTEMPTS: "it was tried too often without an end",
    HoldReason.UNSENDABLE: "its message cannot be written",
}


def hold_words(reason: HoldReason) -> str:
    """Why a case is held, for people."""
    return f"{_HELD[reason]} ({reason.value})"
