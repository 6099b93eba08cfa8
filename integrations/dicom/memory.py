"""Memory for data sets that come, used again for the next: fresh memory costs the system more than the bytes take to arrive."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from queue import Empty, Full, Queue

_KEPT_BYTES = 32 * 1024 * 1024  # an image of 10 megapixels; what is larger is rare, and given back
_KEPT = 4  # so many at once; with more associations than that, others take fresh memory
_GROWTH = 8  # by an eighth at least, so that growing stays cheap
_SMALLEST = 1024 * 1024


class ReceivedBytes(BytesIO):
    """What has come of a data set; a `BytesIO` because pynetdicom takes nothing else.

    Only what is written here is ever read from it, whatever the memory held before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._memory = bytearray()
        self._size = 0

    def tell(self) -> int:
        """Give the number of bytes that have come."""
        return self._size

    def room(self, count: int) -> memoryview:
        """Give the place of the next `count` bytes, to be released before anything else is done; see `taken`."""
        lacking = self._size + count - len(self._memory)
        if lacking > 0:
            self._memory.extend(bytes(max(lacking, len(self._memory) // _GROWTH, _SMALLEST)))
        return memoryview(self._memory)[self._size : self._size + count]

    def taken(self, count: int) -> None:
        """Say that so many bytes were put into their room."""
        self._size += count

    def write(self, piece: bytes | memoryview) -> int:  # type: ignore[override]
        """Add bytes."""
        with self.room(len(piece)) as room:
            room[:] = piece
        self.taken(len(piece))
        return len(piece)

    def getbuffer(self) -> memoryview:
        """Give what has come, without a copy; to be released before `Memories.give_back`."""
        return memoryview(self._memory)[: self._size].toreadonly()

    def getvalue(self) -> bytes:
        """Give a copy of what has come."""
        return bytes(self.getbuffer())

    def forget(self) -> bool:
        """Begin anew in the same memory; False where it is not to be used again: large, or looked into still."""
        self._size = 0
        if len(self._memory) > _KEPT_BYTES:
            return False
        try:
            self._memory.append(0)  # which a bytearray refuses while somebody holds a view
            self._memory.pop()
        except BufferError:
            return False
        return True


class Memories:
    """The memory of a receiver; for any number of threads."""

    def __init__(self) -> None:
        self._free: Queue[ReceivedBytes] = Queue(_KEPT)

    def borrow(self) -> ReceivedBytes:
        """Give empty memory."""
        try:
            return self._free.get_nowait()
        except Empty:
            return ReceivedBytes()

    def give_back(self, memory: ReceivedBytes) -> None:
        """Take memory back when its data set is done with."""
        if memory.forget():
            with suppress(Full):
                self._free.put_nowait(memory)
