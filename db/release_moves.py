"""What may leave a case, as one table: what the receivers have, what happens, and the status of the version that follows.

Whatever is not in the table is illegal. A machine's result becomes final only by `Act.RELEASE`, which only the policy ``final`` of a
site knows; once a final result is out, nothing follows without a person, whatever the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from db.errors import IllegalMove
from db.states import ReportStatus


class Standing(StrEnum):
    """What the receivers have of a case."""

    NOTHING = "nothing"
    PRELIMINARY = "a preliminary result"
    FINAL = "a final result"
    NO_RESULT = "that there is no result"
    WITHDRAWN = "that it was reported for the wrong patient"


class Act(StrEnum):
    """What happens to a case's result. The first three are the program's, the others a person's."""

    REPORT = "report"
    RELEASE = "release"
    NO_RESULT = "no result"
    SIGN = "sign"
    REJECT = "reject"
    WITHDRAW = "withdraw"


PERSONS: frozenset[Act] = frozenset({Act.SIGN, Act.REJECT, Act.WITHDRAW})
"""Acts that name a person."""

_OPEN = (Standing.NOTHING, Standing.PRELIMINARY, Standing.NO_RESULT)

RELEASE_MOVES: Mapping[tuple[Standing, Act], ReportStatus] = {
    **{(standing, Act.REPORT): ReportStatus.PRELIMINARY for standing in _OPEN},
    **{(standing, Act.RELEASE): ReportStatus.FINAL for standing in _OPEN},
    **{(standing, Act.NO_RESULT): ReportStatus.NOT_OBTAINED for standing in _OPEN},
    **{(standing, Act.SIGN): ReportStatus.FINAL for standing in _OPEN},
    (Standing.FINAL, Act.SIGN): ReportStatus.CORRECTED,
    **{(standing, Act.REJECT): ReportStatus.NOT_OBTAINED for standing in _OPEN},
    (Standing.PRELIMINARY, Act.WITHDRAW): ReportStatus.WRONG_PATIENT,
    (Standing.FINAL, Act.WITHDRAW): ReportStatus.WRONG_PATIENT,
}
"""Legal moves of what is out. Nothing follows a withdrawal."""

_WHY_NOT: Mapping[Act, str] = {
    Act.REPORT: "it waits for a person's signature",
    Act.RELEASE: "it waits for a person's signature",
    Act.NO_RESULT: "it waits for a person",
    Act.SIGN: "nothing can follow; the next image under its accession number begins a new case",
    Act.REJECT: "correct it by signing again, or withdraw it as reported for the wrong patient",
    Act.WITHDRAW: "there is nothing to withdraw; reject the case instead",
}


def standing_of(statuses: Iterable[ReportStatus]) -> Standing:
    """What the receivers have after these versions, the first one first."""
    standing = Standing.NOTHING
    for status in statuses:
        standing = _AFTER[status]
    return standing


def next_status(standing: Standing, act: Act) -> ReportStatus:
    """Return the status of the version that follows.

    Raises
    ------
    IllegalMove
        The table has no such move.
    """
    status = RELEASE_MOVES.get((standing, act))
    if status is None:
        message = f"the receivers have {standing}: {_WHY_NOT[act]}"
        raise IllegalMove(message)
    return status


_AFTER: Mapping[ReportStatus, Standing] = {
    ReportStatus.PRELIMINARY: Standing.PRELIMINARY,
    ReportStatus.FINAL: Standing.FINAL,
    ReportStatus.CORRECTED: Standing.FINAL,
    ReportStatus.NOT_OBTAINED: Standing.NO_RESULT,
    ReportStatus.WRONG_PATIENT: Standing.WITHDRAWN,
}
