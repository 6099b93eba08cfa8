from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.errors import FramingError
from integrations.hl7.framing import BlockReader, frame


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=50).filter(lambda body: not {0x0B, 0x1C} & set(body)), max_size=5), st.data())
def test_blocks_come_whole_however_the_bytes_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(body) for body in bodies)
    reader, found = BlockReader(50), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
        while (block := reader.next_block()) is not None:
            found.append(block)
    assert found == bodies
    assert not reader.pending


@pytest.mark.parametrize(
    "stream", [b"x", b"\x1c\r", b"HTTP/1.1 400\r\n", b"\x0b" + b"x" * 11, b"\x0b" + b"x" * 11 + b"\x1c\r"]
)
def test_a_stream_that_is_no_mllp_or_too_large_is_refused(stream: bytes) -> None:
    reader = BlockReader(10)
    reader.feed(stream)
    with pytest.raises(FramingError):
        reader.next_block()


def test_a_block_of_just_the_allowed_size_without_the_last_carriage_return_is_taken() -> None:
    reader = BlockReader(10)
    reader.feed(b"\r\n\x0b" + b"x" * 10 + b"\x1c")
    assert reader.next_block() == b"x" * 10
    assert reader.next_block() is None


@pytest.mark.parametrize("char", [b"\x0b", b"\x1c"])
def test_a_message_with_block_characters_is_not_framed(char: bytes) -> None:
    with pytest.raises(FramingError, match="block character"):
        frame(b"MSH" + char)
