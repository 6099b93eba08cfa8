"""Messages of an association (PS3.7 section 6.3.1), gathered from their fragments up to the limits."""

from __future__ import annotations

import logging
import threading
from queue import Empty
from typing import Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA

from integrations.dicom.limits import AssociationLimits
from integrations.dicom.memory import Memories, ReceivedBytes

_COMMAND, _LAST = 1, 2  # bits of the message control header (PS3.8 annex E.2)
_LOOK_SECONDS = 0.01  # so long an association takes to see that it is released or aborted

log = logging.getLogger(__name__)


class Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """Gathers the fragments of messages (PS3.8 annex E), in place of pynetdicom's, which gathers whatever is sent.

    Parameters
    ----------
    association : pynetdicom.association.Association
    limits : AssociationLimits
    memories : Memories
        For the data sets of C-STORE.
    """

    message: Any

    def __init__(self, association: Any, limits: AssociationLimits, memories: Memories) -> None:
        super().__init__(association)
        self._limits = limits
        self._memories = memories
        self._ended = False

    def get_msg(self, block: bool = False) -> tuple[Any, Any]:
        """Give the next message, or twice None; waits a moment for it, where pynetdicom looks, sleeps and looks again."""
        try:
            return tuple(self.msg_queue.get(timeout=self.dimse_timeout if block else _LOOK_SECONDS))
        except Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Add the fragments of one P-DATA indication; what is too large ends the association."""
        for context, fragment in primitive.presentation_data_value_list:
            self.add(context, fragment)

    def add(self, context: int, fragment: bytes | memoryview) -> None:
        """Add a fragment to its message; it may be overwritten afterwards.

        Parameters
        ----------
        context : int
            Presentation context.
        fragment : bytes-like
            With its message control header (PS3.8 annex E.2).
        """
        is_command = fragment[0] & _COMMAND
        if not self._is_taken(len(fragment) - 1, is_command):
            return
        if self.message is None or is_command or fragment[0] & _LAST:
            primitive = P_DATA()
            primitive.presentation_data_value_list.append((context, fragment))
            super().receive_primitive(primitive)
            self._prepare()
        else:
            self.message.data_set.write(fragment[1:])

    def room(self, control: int, count: int) -> ReceivedBytes | None:
        """Give where `count` bytes of a fragment go; None where it is to be given to `add`.

        Once they are there, `complete` is to be called if the fragment is the last one.

        Parameters
        ----------
        control : int
            Its message control header.
        count : int
            Its bytes without that.
        """
        data_set = None if self.message is None else self.message.data_set
        if control & _COMMAND or not isinstance(data_set, ReceivedBytes) or not self._is_taken(count, is_command=0):
            return None
        return data_set

    def complete(self, context: int, control: int) -> None:
        """Tell that a fragment is in its room."""
        if control & _LAST:
            self.add(context, bytes([control]))

    def give_back(self, data_set: Any) -> None:
        """Take the memory of a data set that nobody looks into any more."""
        if isinstance(data_set, ReceivedBytes):
            self._memories.give_back(data_set)

    def _is_taken(self, count: int, is_command: int) -> bool:
        """Whether so many bytes more are taken; else the association is ended."""
        if self._ended:
            return False
        message = self.message
        limit = self._limits.max_command_bytes if is_command else self._limits.max_data_set_bytes
        if message is not None:
            count += (message.encoded_command_set if is_command else message.data_set).tell()
        if not is_command:
            count += self._bytes_waiting()
        if count > limit:
            self._end(f"it sends more than the {self._limits.max_data_set_bytes:,} bytes that are taken for an object")
        elif message is None and self.msg_queue.qsize() >= self._limits.max_waiting:
            self._end("it sends on without waiting for answers")
        return not self._ended

    def _bytes_waiting(self) -> int:
        """Give the bytes of data sets that came whole and wait until the one before them is answered."""
        if not self.msg_queue.queue:
            return 0
        with self.msg_queue.mutex:
            waiting = [getattr(primitive, "DataSet", None) for _, primitive in self.msg_queue.queue]
        return sum(data_set.tell() for data_set in waiting if isinstance(data_set, ReceivedBytes))

    def _prepare(self) -> None:
        """Give a C-STORE whose command is known memory for its data set."""
        message = self.message
        if isinstance(message, C_STORE_RQ) and message.data_set is not None and not message.data_set.tell():
            self.give_back(message.data_set)
            message.data_set = self._memories.borrow()

    def _end(self, reason: str) -> None:
        self._ended = True
        self.message = None
        log.warning("the association with %r is ended: %s", self.assoc.requestor.ae_title, reason)
        # This is the thread that would have to send the abort which `abort` waits for.
        threading.Thread(target=self.assoc.abort, name="abort", daemon=True).start()
