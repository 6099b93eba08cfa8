"""MLLP blocks in a stream of bytes: ``<VT> message <FS><CR>`` (HL7 Transport Specification: MLLP, Release 1)."""

from __future__ import annotations

from integrations.errors import BlockTooLarge, FramingError

START, END, CARRIAGE_RETURN = b"\x0b", b"\x1c", b"\x0d"
_BETWEEN_BLOCKS = b"\r\n "


def frame(message: bytes) -> bytes:
    """Wrap a message into a block.

    Raises
    ------
    FramingError
        If the message itself holds a block character: it would end early at the receiver.
    """
    if START in message or END in message:
        raise FramingError("the message holds an MLLP block character (0x0B or 0x1C); it cannot be sent")
    return START + message + END + CARRIAGE_RETURN


class BlockReader:
    """Takes bytes as they come and gives whole blocks.

    The carriage return after FS is not waited for: some senders leave it out, and a block is whole without it.

    Parameters
    ----------
    max_bytes : int
        Most bytes of one block; more is refused before anything looks at them.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0

    @property
    def pending(self) -> bool:
        """Whether part of a block has arrived."""
        # Once searched, the buffer begins with a block: without this each byte that trickles in would cost a copy.
        return self._searched > 0 or bool(self._buffer.lstrip(_BETWEEN_BLOCKS))

    def begun(self, most: int) -> bytes:
        """The first bytes of the block that is arriving, without its framing; for telling its sender what is wrong."""
        return bytes(self._buffer[len(START) : len(START) + most])

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        self._buffer += data

    def next_block(self) -> bytes | None:
        """Return the next whole block without its framing, or None until more bytes arrive.

        Raises
        ------
        FramingError
            If the bytes do not begin with VT, or, as `BlockTooLarge`, the block is too large. The stream cannot be
            trusted any more.
        """
        if self._searched == 0:
            begin = len(self._buffer) - len(self._buffer.lstrip(_BETWEEN_BLOCKS))
            del self._buffer[:begin]
        if not self._buffer:
            return None
        if self._buffer[:1] != START:
            raise FramingError("bytes outside an MLLP block")
        end = self._buffer.find(END, self._searched)
        length = (len(self._buffer) if end < 0 else end) - len(START)
        if length > self._max_bytes:
            raise BlockTooLarge(f"an MLLP block of more than {self._max_bytes} bytes")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        block = bytes(self._buffer[1:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return block
