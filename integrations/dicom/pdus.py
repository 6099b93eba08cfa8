"""PDUs (PS3.8 section 9.3) off a connection: each with a deadline and a limit, those that carry data without a detour.

pynetdicom 3.0.4 reads 4 KiB at a time, copies each byte of a P-DATA-TF PDU five times, sends each through two queues and
its state machine, and sleeps before it looks for the next, and for what is to be sent. `PduReader` takes the place of its
`DULServiceProvider._read_pdu_data`: data within an established association go straight to the message that they belong to,
everything else the way it always did.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Queue
from typing import Any

from pynetdicom.transport import AssociationSocket

from integrations.dicom.limits import AssociationLimits

CLOSED, _UNKNOWN = "Evt17", "Evt19"  # transport connection closed; invalid PDU (PS3.8 table 9-10)
_ESTABLISHED = "Sta6"  # association established, ready for data transfer (PS3.8 table 9-5)
_KINDS = range(0x01, 0x08)
_P_DATA_TF = 0x04
_PDU_HEAD = struct.Struct(">BxI")  # type, length
_ITEM_HEAD = struct.Struct(">IB")  # length, presentation context
_DATA_HEAD = struct.Struct(">IBB")  # the same and the message control header
_CONTEXT_AND_CONTROL = 2  # bytes of an item's length that are no data
_AHEAD_BYTES = 4096
_LOOK_SECONDS = 0.1  # so long it takes until a time limit is seen to be over
_MOST_WAKES = 4096
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


def fragments_of(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Take the content of a P-DATA-TF PDU apart (PS3.8 section 9.3.5) without copying it.

    Yields
    ------
    tuple
        Presentation context, and the fragment with its message control header.

    Raises
    ------
    ValueError, struct.error
        An item does not fit.
    """
    position = 0
    while position < len(content):
        length, context = _ITEM_HEAD.unpack_from(content, position)
        begin, position = position + _ITEM_HEAD.size, position + 4 + length
        if begin >= position or position > len(content):
            raise ValueError("a presentation data value does not fit into its PDU")
        yield context, content[begin:position]


class Connection(AssociationSocket):  # type: ignore[misc]
    """A connection whose every wait has an end, in place of pynetdicom's."""

    def __init__(self, made: AssociationSocket, limits: AssociationLimits) -> None:
        # No `super().__init__`: that would report the connection to the state machine a second time.
        self.__dict__.update(made.__dict__)
        self._limits = limits
        self._ahead, self._ahead_of = bytearray(_AHEAD_BYTES), memoryview(b"")  # read with what was asked for
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker, *([self.socket] if self.socket is not None else [])):
            end.setblocking(False)

    def wake(self) -> None:
        """End the waiting of `ready`; from any thread."""
        with suppress(OSError):  # it is closed, or woken already
            self._waker.send(b"\0")

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits a moment for it, where pynetdicom looks, sleeps and looks again."""
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        if self._ahead_of or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return True
        try:
            found, _, _ = select.select([connection, self._woken], [], [], _LOOK_SECONDS)
            if self._woken in found:
                self._woken.recv(_MOST_WAKES)
        except (OSError, ValueError):
            self.event_queue.put(CLOSED)
            return False
        return connection in found

    def fill(self, view: memoryview, deadline: float) -> None:
        """Read until `view` is full.

        Parameters
        ----------
        view : memoryview
        deadline : float
            Monotonic seconds.

        Raises
        ------
        OSError
            Also as `TimeoutError`, and as `ConnectionError` when the peer has closed.
        """
        connection = self.socket
        if connection is None:
            raise ConnectionAbortedError
        while view:
            try:
                count = self._receive(connection, view)
            except (BlockingIOError, ssl.SSLWantReadError):
                _wait(connection, deadline, to_read=True)
            except ssl.SSLWantWriteError:
                _wait(connection, deadline, to_read=False)
            else:
                if not count:
                    raise ConnectionResetError
                view = view[count:]

    def _receive(self, connection: socket.socket, view: memoryview) -> int:
        """Read once into `view`, and a little of what follows: the head of the next PDU costs no call of its own."""
        if self._ahead_of:
            count = min(len(view), len(self._ahead_of))
            view[:count] = self._ahead_of[:count]
            self._ahead_of = self._ahead_of[count:]
            return count
        if isinstance(connection, ssl.SSLSocket):  # which has its own buffer
            return connection.recv_into(view)
        count, _, _, _ = connection.recvmsg_into([view, self._ahead])
        self._ahead_of = memoryview(self._ahead)[: max(0, count - len(view))]
        return min(count, len(view))

    def send(self, bytestream: bytes) -> None:
        """Send a PDU; a peer that does not take it in time loses the connection."""
        try:
            self.socket.settimeout(self._limits.pdu_seconds)
            super().send(bytestream)
            self.socket.setblocking(False)
        except (OSError, AttributeError):  # another thread has closed it
            self.event_queue.put(CLOSED)

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._woken.close()
        self._waker.close()


class Outgoing(Queue[Any]):
    """What an association has to send, in place of pynetdicom's queue: the thread that sends it need not look for it.

    Parameters
    ----------
    connection : Connection
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add something to be sent."""
        super().put(item, block, timeout)
        self._connection.wake()


class PduReader:
    """Reads what has arrived for one association; called in the thread of its `DULServiceProvider`.

    Parameters
    ----------
    association : pynetdicom.association.Association
        With a `Connection`, and with its collector of messages.
    limits : AssociationLimits
    """

    def __init__(self, association: Any, limits: AssociationLimits) -> None:
        self._association = association
        self._provider = association.dul
        self._limits = limits
        self._buffer = bytearray(limits.pdu_bytes)
        self._head = bytearray(_PDU_HEAD.size)

    def __call__(self) -> None:
        """Read PDUs: data as long as more have arrived, anything else once."""
        while self._read_one() and self._association.dimse.message is not None:
            self._provider._idle_timer.restart()  # noqa: SLF001  # its caller does so after the last one only
            if self._is_wanted_elsewhere() or not self._provider.socket.ready:
                return

    def _is_wanted_elsewhere(self) -> bool:
        """Whether the thread has something to send, or is to end."""
        provider = self._provider
        return bool(provider._kill_thread or provider.to_provider_queue.queue or provider.event_queue.queue)  # noqa: SLF001

    def _read_one(self) -> bool:
        """Read a PDU; True where it was one with data, and all of it went to its message."""
        connection, deadline = self._provider.socket, time.monotonic() + self._limits.pdu_seconds
        try:
            connection.fill(memoryview(self._head), deadline)
            kind, length = _PDU_HEAD.unpack(self._head)
            if kind in _KINDS and length > self._limits.max_pdu_bytes:
                raise ConnectionAbortedError
            begun = 0
            if kind == _P_DATA_TF and length >= _DATA_HEAD.size and self._is_established:
                connection.fill(self._room(_DATA_HEAD.size), deadline)
                if self._read_data(length, deadline):
                    return True
                begun = _DATA_HEAD.size
            content = self._room(length if kind in _KINDS else 0)
            connection.fill(content[begun:], deadline)
        except (OSError, MemoryError):
            self._provider.event_queue.put(CLOSED)
            return False
        try:
            return self._take(kind, content)
        except Exception:  # noqa: BLE001  # pynetdicom raises of every kind on damaged PDUs
            self._provider.event_queue.put(_UNKNOWN)
            return False

    @property
    def _is_established(self) -> bool:
        return bool(self._provider.state_machine.current_state == _ESTABLISHED)

    def _read_data(self, length: int, deadline: float) -> bool:
        """Read the only fragment of a PDU of this length straight to its data set; False where it is not that simple."""
        item, context, control = _DATA_HEAD.unpack_from(self._buffer)
        count = item - _CONTEXT_AND_CONTROL
        messages = self._association.dimse
        data_set = messages.room(control, count) if item + 4 == length else None
        if data_set is None:
            return False
        with data_set.room(count) as room:
            self._provider.socket.fill(room, deadline)
        data_set.taken(count)
        messages.complete(context, control)
        return True

    def _room(self, length: int) -> memoryview:
        if length > len(self._buffer):
            self._buffer = self._buffer + bytes(length - len(self._buffer))  # views of the old one stay whole
        return memoryview(self._buffer)[:length]

    def _take(self, kind: int, content: memoryview) -> bool:
        if kind == _P_DATA_TF and self._is_established:
            for context, fragment in fragments_of(content):
                self._association.dimse.add(context, fragment)  # action DT-2 (PS3.8 table 9-7)
            return True
        pdu, event = self._provider._decode_pdu(self._head + content)  # noqa: SLF001
        self._provider.event_queue.put(event)
        self._provider._recv_pdu.put(pdu)  # noqa: SLF001
        return False


def _wait(connection: socket.socket, deadline: float, *, to_read: bool) -> None:
    """Wait until a connection can be read, or written, again.

    Raises
    ------
    TimeoutError, OSError
    """
    if _QUICKACK is not None:
        # A sender that hands over a PDU in small pieces (dcmtk) waits for our acknowledgement of each, which the system
        # delays by 40 ms; in between nothing would move.
        connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
    waiting = [connection]
    ready = select.select(
        waiting if to_read else [], [] if to_read else waiting, [], max(0.0, deadline - time.monotonic())
    )
    if not any(ready):
        raise TimeoutError
