"""Storage Commitment, Push Model, as its provider (PS3.4 annex J): read what is asked, and tell what we keep.

A requester sends an N-ACTION with a transaction UID and the instances it wants to be sure of. It is answered by an
N-EVENT-REPORT, on the association that is open still, or on one of our own, on which we claim the role of the provider.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role

from integrations.dicom.catalogue import SYNTAXES
from integrations.dicom.limits import DEFAULT_LIMITS
from integrations.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, is_uid
from integrations.dicom.structure import check_structure
from integrations.errors import InstanceRefused, ReportNotTaken
from sphero_core.errors import DamagedImage, ImageTooLarge

COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST = 1  # the only action, PS3.4 section J.3.2
_ALL_KEPT, _SOME_NOT = 1, 2  # the two events, PS3.4 section J.3.3


class NotKept(IntEnum):
    """Why we do not commit ourselves to an instance: Failure Reason (0008,1197), PS3.3 section C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    CLASS_CONFLICT = 0x0119


@dataclass(frozen=True, slots=True)
class Promise:
    """What a requester is told of its instances; each is a SOP class and a SOP instance UID."""

    transaction_uid: str
    kept: tuple[tuple[str, str], ...]
    failed: tuple[tuple[tuple[str, str], NotKept], ...]


@dataclass(frozen=True, slots=True)
class Requester:
    """Where answers go to.

    Attributes
    ----------
    tls : SSLContext or None
    seconds : float
        For the connection, and for each answer after that.
    """

    ae_title: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    seconds: float = 15.0


def read_request(information: bytes, transfer_syntax_uid: str, decoded: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Read the information of an N-ACTION (PS3.4 table J.3-1).

    Parameters
    ----------
    information : bytes
        As it came, to be held against limits before it is decoded.
    transfer_syntax_uid : str
    decoded : callable
        Gives the data set.

    Returns
    -------
    tuple
        Transaction UID; SOP class and SOP instance UID of each instance.

    Raises
    ------
    InstanceRefused
    """
    try:
        check_structure(information, SYNTAXES[transfer_syntax_uid], DEFAULT_LIMITS)
        data_set: Dataset = decoded()
        transaction = str(data_set.TransactionUID)
        references = tuple(
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in data_set.ReferencedSOPSequence
        )
    except (DamagedImage, ImageTooLarge) as error:
        raise InstanceRefused(str(error)) from None
    except Exception as error:  # noqa: BLE001  # pydicom raises of every kind on damaged input
        raise InstanceRefused(f"a request for commitment cannot be read ({type(error).__name__})") from None
    if not references or not all(is_uid(uid) for uid in (transaction, *(each for pair in references for each in pair))):
        raise InstanceRefused("a request for commitment names no instances, or something that is no UID")
    return transaction, references


def event_of(promise: Promise) -> tuple[int, Dataset]:
    """Event type and information of the N-EVENT-REPORT (PS3.4 table J.3-2)."""
    information = Dataset()
    information.TransactionUID = promise.transaction_uid
    if promise.kept:
        information.ReferencedSOPSequence = [_reference(pair) for pair in promise.kept]
    if promise.failed:
        information.FailedSOPSequence = []
        for pair, reason in promise.failed:
            item = _reference(pair)
            item.FailureReason = reason.value
            information.FailedSOPSequence.append(item)
    return (_SOME_NOT if promise.failed else _ALL_KEPT), information


def report_on(association: Any, promise: Promise) -> None:
    """Tell a promise on an open association.

    Raises
    ------
    ReportNotTaken
    """
    event, information = event_of(promise)
    try:
        status, _ = association.send_n_event_report(information, event, COMMITMENT, COMMITMENT_INSTANCE)
    except (RuntimeError, ValueError):  # the association has ended, or has no presentation context for it
        raise ReportNotTaken("its association has ended") from None
    code = getattr(status, "Status", None)
    if code != 0x0000:
        raise ReportNotTaken("it did not answer" if code is None else f"it answered 0x{code:04X}")


def report_to(requester: Requester, promise: Promise, *, own_title: str) -> None:
    """Tell a promise on an association of our own.

    Raises
    ------
    ReportNotTaken
    """
    entity = AE(ae_title=own_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = requester.seconds
    entity.network_timeout = requester.seconds
    entity.add_requested_context(COMMITMENT)
    association = entity.associate(
        requester.host,
        requester.port,
        ae_title=requester.ae_title,
        ext_neg=[build_role(COMMITMENT, scp_role=True)],
        tls_args=(requester.tls, requester.host) if requester.tls is not None else None,
    )
    if not association.is_established:
        raise ReportNotTaken("it rejects our association" if association.is_rejected else "it cannot be reached")
    try:
        report_on(association, promise)
    finally:
        association.release()


def speaks_commitment(association: Any, title: str) -> bool:
    """Whether an association of this AE title is open for commitment."""
    contexts: Sequence[Any] = association.accepted_contexts
    return bool(
        association.is_established
        and association.requestor.ae_title == title
        and any(context.abstract_syntax == COMMITMENT for context in contexts)
    )


def _reference(pair: tuple[str, str]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = pair
    return item
