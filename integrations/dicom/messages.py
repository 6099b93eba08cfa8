"""Messages of an association (PS3.7 section 6.3.1), gathered from their fragments up to the limits."""

from __future__ import annotations

import logging
import threading
from queue import Empty
from typing import Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from integrations.dicom.limits import AssociationLimits

_LOOK_SECONDS = 0.01  # so long an association takes to see that it is released or aborted

log = logging.getLogger(__name__)


class Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """Gathers the fragments of messages (PS3.8 annex E), in place of pynetdicom's, which gathers whatever is sent."""

    message: Any

    def __init__(self, association: Any, limits: AssociationLimits) -> None:
        super().__init__(association)
        self._limits = limits
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
        message, is_command, is_last = self.message, fragment[0] & 1, fragment[0] & 2
        if self._ended:
            return
        size, limit = (
            len(fragment) - 1,
            self._limits.max_command_bytes if is_command else self._limits.max_data_set_bytes,
        )
        if message is not None:
            size += (message.encoded_command_set if is_command else message.data_set).tell()
        if size > limit:
            self._end(f"an object has more than the {self._limits.max_data_set_bytes:,} bytes that are taken")
        elif message is None and self.msg_queue.qsize() >= self._limits.max_waiting:
            self._end("it sends on without waiting for answers")
        elif message is None or is_command or is_last:
            primitive = P_DATA()
            primitive.presentation_data_value_list.append((context, fragment))
            super().receive_primitive(primitive)
        else:
            message.data_set.write(fragment[1:])

    def _end(self, reason: str) -> None:
        self._ended = True
        self.message = None
        log.warning("the association with %r is ended: %s", self.assoc.requestor.ae_title, reason)
        # This is the thread that would have to send the abort which `abort` waits for.
        threading.Thread(target=self.assoc.abort, name="abort", daemon=True).start()
