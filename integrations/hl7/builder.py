"""Messages built with hl7apy, which only this module and `names` touch; it has no types, so `Any` ends here.

hl7apy gives the structure of a message (which segments in which group, which data type where). It does not escape
(see `escape`), does not split repetitions in an assignment, and its strict validation prints payloads in exceptions:
so values arrive here escaped, repetitions are added one by one, validation is tolerant, and `conformance` checks the
finished bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message

from integrations.hl7.versions import Version

Untyped = Any  # an element of hl7apy


class SegmentBuilder:
    """One segment that is being filled."""

    def __init__(self, name: str, segment: Untyped) -> None:
        self._name = name
        self._segment = segment

    def put(self, number: int, *repetitions: str | Sequence[str]) -> Self:
        """Set a field; values are escaped already.

        Parameters
        ----------
        number : int
            1 for the first field.
        *repetitions : str or sequence of str
            Each a value or a sequence of components. Empty ones are left out.
        """
        for value in repetitions:
            er7 = value if isinstance(value, str) else "^".join(value).rstrip("^")
            if er7:
                self._segment.add_field(f"{self._name}_{number}").value = er7
        return self


class GroupBuilder:
    """A message, or a group of segments in it."""

    def __init__(self, element: Untyped) -> None:
        self._element = element

    def group(self, name: str) -> GroupBuilder:
        """Add a group of the message's structure, such as ``ORU_R01_PATIENT_RESULT``."""
        return GroupBuilder(self._element.add_group(name))

    def segment(self, name: str) -> SegmentBuilder:
        """Add a segment; segments stand in the order in which they are added."""
        return SegmentBuilder(name, self._element.add_segment(name))


class MessageBuilder(GroupBuilder):
    """A message of a named structure, such as ``ORU_R01``, in a version of HL7."""

    def __init__(self, structure: str, version: Version = Version.V2_5_1) -> None:
        super().__init__(Message(structure, version=version.value, validation_level=VALIDATION_LEVEL.TOLERANT))
        # hl7apy fills in the time of day itself: a message would differ each time it is built.
        del self._element.msh.msh_7

    @property
    def header(self) -> SegmentBuilder:
        """MSH; its separators and version are set."""
        return SegmentBuilder("MSH", self._element.msh)

    def to_er7(self) -> str:
        """The message, each segment ended by a carriage return."""
        er7: str = self._element.to_er7()
        return er7 if er7.endswith("\r") else er7 + "\r"
