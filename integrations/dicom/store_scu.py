"""Objects to an archive by C-STORE (PS3.4 annex B): the frozen bytes, in the syntax they were frozen in.

The association is kept while objects follow each other, and released after a while of silence. Every wait ends: connecting,
each answer, and the whole attempt, since an archive that stops reading would else hold us up for ever.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless
from pynetdicom import _config, build_context

from integrations.dicom.evidence import KEY_OBJECTS, VL_MICROSCOPIC
from integrations.dicom.peer import Entity, associate
from integrations.dicom.storing import FrozenObject, StoreAnswer, StoreOutcome, longest_attempt, outcome_of
from integrations.errors import PeerUnavailable, TlsError

log = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
EMITTED: Sequence[tuple[str, str]] = (
    (VL_MICROSCOPIC, str(ExplicitVRLittleEndian)),
    (VL_MICROSCOPIC, str(JPEGBaseline8Bit)),
    ("1.2.840.10008.5.1.4.1.1.91.1", str(ExplicitVRLittleEndian)),  # Microscopy Bulk Simple Annotations
    ("1.2.840.10008.5.1.4.1.1.88.34", str(ExplicitVRLittleEndian)),  # Comprehensive 3D SR
    (KEY_OBJECTS, str(ExplicitVRLittleEndian)),
    (LABEL_MAP, str(RLELossless)),
)
"""Classes and transfer syntaxes of what we send, each a presentation context of its own: nothing is ever recoded."""


class StoreScu:
    """Sends objects to one application entity; for one thread at a time.

    Parameters
    ----------
    entity : Entity
    clock : callable
        Monotonic seconds.
    idle_seconds : float
        After which an association that is not used is released.
    """

    def __init__(
        self, entity: Entity, *, clock: Callable[[], float] = time.monotonic, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        # Files are sent as they are instead of being read into a data set and written anew.
        _config.STORE_SEND_CHUNKED_DATASET = True
        self.entity = entity
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._association: Any = None
        self._idle: threading.Timer | None = None

    def probe(self) -> str | None:
        """Associate, if there is no association; gives in words why not."""
        with self._lock:
            self._keep_awake()
            try:
                self._associated()
            except (PeerUnavailable, TlsError) as error:
                return str(error)
            finally:
                self._fall_asleep_later()
            return None

    def send(self, made: FrozenObject) -> StoreAnswer:
        """Send one object and wait for the answer."""
        with self._lock:
            self._keep_awake()
            began = self._clock()
            try:
                outcome, code, reason = self._send(made)
            finally:
                self._fall_asleep_later()
            return StoreAnswer(outcome, code, reason, self._clock() - began)

    def close(self) -> None:
        """Release the association."""
        with self._lock:
            self._keep_awake()
            self._end()

    # ---------------------------------------------------------------------------------------------------------- inside
    def _send(self, made: FrozenObject) -> tuple[StoreOutcome, str, str]:
        try:
            association = self._associated()
        except (PeerUnavailable, TlsError) as error:
            return StoreOutcome.NOT_SENT, "", str(error)
        if not self._takes(association, made):
            return StoreOutcome.REFUSED, "", "the archive does not accept this class in the syntax it was frozen in"
        limit = longest_attempt(self.entity.timeout_seconds, made.size_bytes)
        watch = threading.Timer(limit, _cut, [association])
        watch.daemon = True
        watch.start()
        try:
            answer = association.send_c_store(made.path)
        except (OSError, RuntimeError, ValueError, AttributeError) as error:
            self._end(abort=True)
            return StoreOutcome.UNKNOWN, "", f"sending broke off ({type(error).__name__})"
        finally:
            watch.cancel()
        if "Status" not in answer:
            self._end(abort=True)
            return StoreOutcome.UNKNOWN, "", "the association ended, or no answer came in time"
        outcome, reason = outcome_of(int(answer.Status))
        return outcome, f"0x{answer.Status:04X}", reason

    def _associated(self) -> Any:
        if self._association is not None and not self._association.is_established:
            self._end(abort=True)
        if self._association is None:
            contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in EMITTED]
            self._association = self._stack.enter_context(associate(self.entity, contexts))
        return self._association

    @staticmethod
    def _takes(association: Any, made: FrozenObject) -> bool:
        return any(
            context.abstract_syntax == made.sop_class_uid and made.transfer_syntax_uid in context.transfer_syntax
            for context in association.accepted_contexts
        )

    def _end(self, *, abort: bool = False) -> None:
        association, self._association = self._association, None
        stack, self._stack = self._stack, ExitStack()
        if abort and association is not None:
            _cut(association)
            with suppress(OSError, RuntimeError):
                association.abort()
        try:
            stack.close()
        except (OSError, RuntimeError) as error:
            log.debug("an association ended with %s", type(error).__name__)

    def _keep_awake(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _fall_asleep_later(self) -> None:
        if self._association is None:
            return
        idle = threading.Timer(self._idle_seconds, self._sleep, [self._association])
        idle.daemon = True
        self._idle = idle
        idle.start()

    def _sleep(self, association: Any) -> None:
        with self._lock:
            if self._association is association and threading.current_thread() is self._idle:
                self._idle = None
                self._end()


def _cut(association: Any) -> None:
    """End an association's connection, whatever it waits for."""
    with suppress(OSError, AttributeError):
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
