"""Memory of data sets that is used again: it shows nothing of what it held, and is never taken from under a reader."""

from __future__ import annotations

import pytest

from integrations.dicom.memory import Memories, ReceivedBytes

MIB = 1024 * 1024


def filled(memory: ReceivedBytes, *pieces: bytes) -> ReceivedBytes:
    for piece in pieces:
        assert memory.write(piece) == len(piece)
    return memory


def test_it_holds_what_was_written_and_nothing_of_what_it_held_before() -> None:
    memories = Memories()
    first = filled(memories.borrow(), b"name of a patient" * 100_000, b"", b"end")
    assert (first.tell(), first.getvalue()) == (1_700_003, b"name of a patient" * 100_000 + b"end")
    memories.give_back(first)
    again = memories.borrow()
    assert again is first
    assert (again.tell(), again.getvalue(), bytes(again.getbuffer())) == (0, b"", b"")
    assert filled(again, b"abc").getvalue() == b"abc"
    with again.room(2) as room:
        room[:] = b"de"
    assert again.getvalue() == b"abc", "what stands in the room counts when it is said to have been taken"
    again.taken(2)
    assert again.getvalue() == b"abcde"


def test_memory_that_somebody_looks_into_is_not_used_again() -> None:
    memories = Memories()
    memory = filled(memories.borrow(), b"abc")
    view = memory.getbuffer()[1:]
    memories.give_back(memory)
    filled(memories.borrow(), b"xyz")
    assert bytes(view) == b"bc"
    with pytest.raises(TypeError):
        view[0] = 0


def test_large_memory_and_more_than_a_few_are_given_up() -> None:
    memories = Memories()
    large = filled(memories.borrow(), bytes(33 * MIB))
    memories.give_back(large)
    lent = [memories.borrow() for _ in range(20)]
    assert large not in lent
    for each in lent:
        memories.give_back(each)
    taken = [memories.borrow() for _ in range(20)]
    assert 0 < sum(each in lent for each in taken) < 10
