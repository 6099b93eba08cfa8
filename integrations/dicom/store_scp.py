"""The receiver: C-STORE, C-ECHO and Storage Commitment (PS3.4 annexes A, B, J); it says success only for what is durable.

    scp = StoreScp(accept, title="SPHERO", host="0.0.0.0", port=11112)
    with scp:                        # serves until the block ends
        ...

`accept` makes an instance durable, or raises one of the errors below, which become the status of the answer:

    returns                                 0x0000   success
    InstanceNotTaken                        0xA700   out of resources: no space, database gone; try again
    InstanceMismatch                        0xA900   the data set is not what the command says
    InstanceRefused, anything unexpected    0xC000   cannot be understood
    InstanceConflict                        0xC111   other bytes came under this SOP instance UID; both are kept
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt

from integrations.dicom.association_server import AssociationServer, Gate
from integrations.dicom.catalogue import IMAGE_CLASSES, SYNTAXES
from integrations.dicom.limits import AssociationLimits
from integrations.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, EncodedInstance
from integrations.dicom.pledge import COMMITMENT, REQUEST, read_request, speaks_commitment
from integrations.errors import DicomError, InstanceConflict, InstanceMismatch, InstanceNotTaken

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
_COMMENT = 64  # characters of an Error Comment (0000,0902), value representation LO
_POLL_SECONDS = 0.25


class StoreStatus(IntEnum):
    """What a C-STORE is answered: PS3.7 annex C, PS3.4 section B.2.3."""

    SUCCESS = 0x0000
    OUT_OF_RESOURCES = 0xA700
    MISMATCH = 0xA900
    NOT_UNDERSTOOD = 0xC000
    CONFLICT = 0xC111


class ActionStatus(IntEnum):
    """What a request for commitment is answered: PS3.7 section 10.1.4.1.10."""

    SUCCESS = 0x0000
    FAILURE = 0x0110
    INVALID = 0x0115
    NO_SUCH_ACTION = 0x0123
    RESOURCES = 0x0213


class StoreScp:
    """A DICOM receiver in threads of this process.

    Parameters
    ----------
    accept : callable
        Takes an `EncodedInstance`, whose data set is there until it returns, and the calling AE title; see above. Called
        from many threads.
    title : str
        Our AE title; requests for another one are rejected.
    host : str
    port : int
        0 for any free one; `port` says which, once it is started.
    callers : iterable of str
        AE titles that may call; empty for all.
    gate : Gate or None
        Addresses, TLS and limits.
    ask : callable or None
        Records a request for commitment: calling AE title, transaction UID, pairs of SOP class and instance UID. None: we
        commit ourselves to nothing, and say so when associations are negotiated.
    """

    def __init__(
        self,
        accept: Callable[[EncodedInstance, str], object],
        *,
        title: str,
        host: str = "127.0.0.1",
        port: int = 0,
        callers: Iterable[str] = (),
        gate: Gate | None = None,
        ask: Callable[[str, str, tuple[tuple[str, str], ...]], object] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._accept = accept
        self._title = title
        self._callers = tuple(callers)
        self._gate = gate or Gate()
        self._ask = ask
        self._server: AssociationServer | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def limits(self) -> AssociationLimits:
        """How much and how long an association may take."""
        return self._gate.limits

    @property
    def is_listening(self) -> bool:
        """Whether peers can connect."""
        return self._thread is not None and self._thread.is_alive() and not self._stopping.is_set()

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return len(self._server.active_associations) if self._server is not None else 0

    def open_association(self, title: str) -> Any:
        """An open association of an AE title on which commitment is spoken; None where there is none."""
        found = self._server.active_associations if self._server is not None else []
        return next((each for each in found if speaks_commitment(each, title)), None)

    def start(self) -> None:
        """Listen; on return peers can connect.

        Raises
        ------
        OSError
            The address cannot be had.
        """
        _config.LOG_HANDLER_LEVEL = "none"  # else each message would be written out for the log, contents included
        entity = self._entity()
        self._server = entity.make_server(
            (self.host, self.port),
            evt_handlers=self._handlers(),
            server_class=AssociationServer,
            gate=self._gate,
        )
        entity._servers.append(self._server)  # noqa: SLF001  # `shutdown` takes it off again
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="dicom receiver", daemon=True
        )
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take no more; an instance in hand is still answered, within `seconds` for all together."""
        self._stopping.set()
        if self._server is None:
            return
        with suppress(ValueError):  # a second call
            self._server.shutdown()
        open_still = self._server.active_associations
        for association in open_still:
            connection = getattr(association.dul.socket, "socket", None)
            if connection is not None:
                with suppress(OSError):  # it may be ending by itself
                    socket.socket.shutdown(connection, socket.SHUT_RD)
        deadline = threading.Event()
        timer = threading.Timer(seconds, deadline.set)
        timer.start()
        while any(each.is_alive() for each in open_still) and not deadline.wait(0.02):
            pass
        timer.cancel()

    # ---------------------------------------------------------------------------------------------------------- inside
    def _entity(self) -> AE:
        limits = self.limits
        entity = AE(ae_title=self._title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION
        entity.require_called_aet = True
        entity.require_calling_aet = list(self._callers)
        entity.maximum_associations = limits.max_associations
        entity.maximum_pdu_size = limits.pdu_bytes
        entity.acse_timeout = limits.handshake_seconds
        entity.dimse_timeout = limits.idle_seconds
        entity.network_timeout = limits.idle_seconds
        entity.add_supported_context(VERIFICATION)
        for sop_class in IMAGE_CLASSES:
            entity.add_supported_context(sop_class, list(SYNTAXES))
        if self._ask is not None:
            entity.add_supported_context(COMMITMENT)
        return entity

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_C_ECHO, lambda _: StoreStatus.SUCCESS.value),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commit),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ABORTED, self._aborted),
        ]

    def _store(self, event: Any) -> int | Dataset:
        caller = str(event.assoc.requestor.ae_title)
        try:
            self._accept_request(event.request, str(event.context.transfer_syntax), caller)
        except DicomError as error:
            status, comment = _status(error), str(error)
        except Exception as error:  # noqa: BLE001  # the edge of the job: the sender is told, the receiver goes on
            status, comment = StoreStatus.NOT_UNDERSTOOD, f"unexpected {type(error).__name__}"
        else:
            return StoreStatus.SUCCESS.value
        finally:
            event.assoc.dimse.give_back(event.request.DataSet)
        log.warning("an instance of %r was answered 0x%04X: %s", caller, status.value, comment)
        return _answer(status, comment)

    def _accept_request(self, request: Any, transfer_syntax_uid: str, caller: str) -> None:
        sop_class_uid, sop_instance_uid = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        with memoryview(b"") if request.DataSet is None else request.DataSet.getbuffer() as data_set:
            self._accept(EncodedInstance(sop_class_uid, sop_instance_uid, transfer_syntax_uid, data_set), caller)

    def _commit(self, event: Any) -> tuple[int, None]:
        caller = str(event.assoc.requestor.ae_title)
        if self._ask is None or event.action_type != REQUEST:
            return ActionStatus.NO_SUCH_ACTION.value, None
        try:
            information = event.request.ActionInformation
            content = information.getvalue() if information is not None else b""
            syntax = str(event.context.transfer_syntax)
            self._ask(caller, *read_request(content, syntax, lambda: event.action_information))
        except DicomError as error:
            status, reason = _action_status(error), str(error)
        except Exception as error:  # noqa: BLE001  # the edge of the job: the requester is told, the receiver goes on
            status, reason = ActionStatus.FAILURE, f"unexpected {type(error).__name__}"
        else:
            return ActionStatus.SUCCESS.value, None
        log.warning("a request for commitment of %r was answered 0x%04X: %s", caller, status.value, reason)
        return status.value, None

    def _rejected(self, event: Any) -> None:
        requestor = event.assoc.requestor
        called = str(requestor.primitive.called_ae_title)
        if called != self._title:
            reason = f"it calls {called!r}, and we are {self._title!r}"
        elif self._callers and requestor.ae_title not in self._callers:
            reason = "its title is not in allowed_ae_titles"
        else:
            reason = f"{self.limits.max_associations} are open already"
        self._gate.tell_once(
            f"associations of {requestor.ae_title!r} at {requestor.address_info.address} are rejected: {reason}"
        )

    def _aborted(self, event: Any) -> None:
        log.info("an association with %r was broken off", str(event.assoc.requestor.ae_title))


def _status(error: DicomError) -> StoreStatus:
    if isinstance(error, InstanceNotTaken):
        return StoreStatus.OUT_OF_RESOURCES
    if isinstance(error, InstanceMismatch):
        return StoreStatus.MISMATCH
    return StoreStatus.CONFLICT if isinstance(error, InstanceConflict) else StoreStatus.NOT_UNDERSTOOD


def _action_status(error: DicomError) -> ActionStatus:
    return ActionStatus.RESOURCES if isinstance(error, InstanceNotTaken) else ActionStatus.INVALID


def _answer(status: StoreStatus, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status.value
    answer.ErrorComment = comment.encode("ascii", "replace").decode().replace("\\", "/")[:_COMMENT]
    return answer
