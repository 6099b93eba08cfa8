"""Storage Commitment Push Model as its user (PS3.4 annex J): an archive is asked whether it keeps what it took.

We ask by N-ACTION. The answer, N-EVENT-REPORT, comes on the same association or on one that the archive makes to us: the
first is waited for a moment, for the second there is `integrations.dicom.commitment_listener`. That the question arrived says
nothing yet.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pynetdicom import build_context, evt

from integrations.dicom.peer import Entity, associate
from integrations.errors import PeerRefused, PeerUnavailable

log = logging.getLogger(__name__)

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST = 1  # action type (PS3.4 table J.3.2-1)
ALL_COMMITTED, FAILURES_EXIST = 1, 2  # event types (PS3.4 table J.3.3-1)
MOST_AT_ONCE = 200
SAME_ASSOCIATION_SECONDS = 2.0

_PROCESSING_FAILURE, _NO_SUCH_EVENT, _INVALID_ARGUMENT = 0x0110, 0x0113, 0x0115
_WORDS = {  # PS3.3 C.14.1.1
    0x0110: "it failed to process the request",
    0x0112: "it does not have the object",
    0x0119: "the class is not the one it stored",
    0x0122: "it does not support the class",
    0x0131: "it has seen this transaction before",
    0x0213: "it is out of resources",
}


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What an archive said.

    Attributes
    ----------
    transaction_uid : str
        Of the request.
    committed : tuple of str
        SOP instance UIDs that it keeps.
    failed : mapping of str to str
        Those that it does not keep, with the reason in words.
    """

    transaction_uid: str
    committed: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


OnReport = Callable[[CommitmentReport], None]
"""Makes a report durably ours; raises where that cannot be done just now, so that the archive sends it again."""


def request_commitment(
    entity: Entity,
    transaction_uid: str,
    objects: Sequence[tuple[str, str]],
    on_report: OnReport,
    *,
    stay_seconds: float = SAME_ASSOCIATION_SECONDS,
) -> bool:
    """Ask an archive whether it keeps objects.

    Parameters
    ----------
    transaction_uid : str
        New for each request.
    objects : sequence of (str, str)
        SOP class and instance UIDs, at most `MOST_AT_ONCE`.
    on_report : callable
    stay_seconds : float
        How long the answer is waited for on this association.

    Returns
    -------
    bool
        Whether the answer came on this association already.

    Raises
    ------
    PeerUnavailable, PeerRefused
        The archive was not asked, or refused the request.
    """
    answered = threading.Event()

    def handle(event: Any) -> tuple[int, None]:
        status, nothing = handle_report(event, on_report)
        if status == 0:
            answered.set()
        return status, nothing

    with associate(entity, [build_context(PUSH_MODEL)], handlers=[(evt.EVT_N_EVENT_REPORT, handle)]) as association:
        status, _ = association.send_n_action(
            _request(transaction_uid, objects), REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
        if "Status" not in status:
            raise PeerUnavailable(f"{entity} did not answer the request for storage commitment in time")
        if status.Status != 0:
            raise PeerRefused(f"{entity} refused the request for storage commitment with status 0x{status.Status:04X}")
        end = time.monotonic() + stay_seconds
        while association.is_established and not answered.is_set() and time.monotonic() < end:
            answered.wait(0.05)
    return answered.is_set()


def _request(transaction_uid: str, objects: Sequence[tuple[str, str]]) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [_reference(*each) for each in objects]
    return request


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item


def handle_report(event: Any, on_report: OnReport) -> tuple[int, None]:
    """Handle an N-EVENT-REPORT of pynetdicom; gives the status of the answer, 0 once `on_report` is done, and no reply."""
    return _status_of(event, on_report), None


def _status_of(event: Any, on_report: OnReport) -> int:
    if event.event_type not in (ALL_COMMITTED, FAILURES_EXIST):
        return _NO_SUCH_EVENT
    try:
        report = read_report(event.event_information)
    except (AttributeError, ValueError, TypeError, KeyError, NotImplementedError, OSError):
        return _INVALID_ARGUMENT
    try:
        on_report(report)
    except Exception as error:  # noqa: BLE001  # the edge: whatever failed, the archive is to send its report again
        log.warning(
            "a commitment cannot be recorded just now (%s); the archive is to send it again", type(error).__name__
        )
        return _PROCESSING_FAILURE
    return 0


def read_report(told: Dataset) -> CommitmentReport:
    """Read the event's information (PS3.4 table J.3.3-1)."""
    failed = {
        str(item.ReferencedSOPInstanceUID): _why(int(item.get("FailureReason", 0x0110)))
        for item in told.get("FailedSOPSequence", None) or []
    }
    committed = tuple(str(item.ReferencedSOPInstanceUID) for item in told.get("ReferencedSOPSequence", None) or [])
    return CommitmentReport(str(told.TransactionUID), committed, failed)


def _why(reason: int) -> str:
    return f"{_WORDS.get(reason, 'it does not say why')} (0x{reason:04X})"
