"""The part of the conformance statement on answers: of archives to what we send, and of commitment both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from integrations.dicom.commitment import MOST_AT_ONCE, PUSH_MODEL, SAME_ASSOCIATION_SECONDS
from integrations.dicom.pledge import NotKept
from integrations.dicom.store_scu import IDLE_SECONDS
from integrations.dicom.storing import StoreOutcome, outcome_of

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], str]

_STATUSES = (0x0000, 0x0111, 0xB000, 0xB006, 0xB007, 0xA700, 0xA900, 0xC000, 0x0117, 0x0122, 0x0124, 0x0110)
_THEN = {
    StoreOutcome.ACCEPTED: "delivered",
    StoreOutcome.BUSY: "sent again later, the same bytes",
    StoreOutcome.REFUSED: "parked for a person (`sphero message list`)",
}

_ANSWERS = """\
What is sent again has the same UID and the same bytes. An association is released when nothing was sent on it for {idle:g} s. The failure
reasons of STOW-RS are taken as the statuses below; without an answer the object is sent again.

"""

_COMMITMENT = """\
### 2.7 Storage Commitment Push Model

As user, where `commitment` is set for an archive: after the objects are stored, an N-ACTION names up to {most} of them; the N-EVENT-REPORT is
waited for on the same association for {seconds:g} s, and taken by the listener `[dicom.commitment]` on one that the archive opens ({uid}, with the
archive as SCP by role selection). What an archive does not commit itself to is told to a person.

As provider, for what the receiver took: the request is recorded before it is answered; the N-EVENT-REPORT follows on the same association while it
is open, else on one that we open to the address in `[[dicom.receiver.requester]]`, else on the next that the requester opens; for a day. Reasons
of failure:

"""

_REASONS = {
    NotKept.PROCESSING_FAILURE: "it was refused, came with two contents, or its file is missing or short",
    NotKept.NO_SUCH_INSTANCE: "it did not come",
    NotKept.CLASS_CONFLICT: "it came under another class",
}


def answers(table: Table) -> str:
    """Sections 2.6 and 2.7 in Markdown.

    Parameters
    ----------
    table : callable
        Makes a table of a head and rows.
    """
    return "\n".join(
        (
            "### 2.6 What an archive answers\n",
            _ANSWERS.format(idle=IDLE_SECONDS)
            + table(("status of the archive", "what it is taken for", "what then"), _answers()),
            _COMMITMENT.format(most=MOST_AT_ONCE, seconds=SAME_ASSOCIATION_SECONDS, uid=PUSH_MODEL)
            + table(("reason", "meaning"), ((f"0x{each.value:04X}", _REASONS[each]) for each in NotKept)),
        )
    )


def _answers() -> Iterable[Sequence[str]]:
    for status in _STATUSES:
        outcome, reason = outcome_of(status)
        yield f"0x{status:04X}", reason, _THEN[outcome]
