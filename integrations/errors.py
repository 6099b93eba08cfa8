"""Errors of the outside world.

    IntegrationError
    └── Hl7Error               something about HL7 version 2
        ├── ProfileError         a destination's profile says something that is not allowed
        ├── TextRefused          a text holds what no HL7 field can carry; the field is named
        ├── PatientUnknown       no patient identifier with its assigning authority: the case is held `no-patient`
        ├── ResultRefused        the result itself cannot be told: contradictory counts, a time without zone
        ├── ConformanceError     the finished message breaks a rule of our own check; a fault of the program
        ├── AckUnreadable        what came back is no acknowledgement
        └── FramingError         bytes that are no MLLP block, or a block too large

Each message says what is wrong, where (by segment and field, never by content), and what to do. None quotes a name, an
identifier or a line of a message: they end in logs.
"""

from __future__ import annotations


class IntegrationError(Exception):
    """Base of every error that an integration raises on purpose."""


class Hl7Error(IntegrationError):
    """Something about HL7 version 2 went wrong."""


class ProfileError(Hl7Error):
    """A destination's profile says something that is not allowed."""


class TextRefused(Hl7Error):
    """A text holds what no HL7 field can carry.

    Attributes
    ----------
    field : str
        Where the text was meant to stand, such as ``PID-5 family name``.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class PatientUnknown(Hl7Error):
    """There is no patient identifier with its assigning authority; the case must be held, nothing may be sent."""


class ResultRefused(Hl7Error):
    """The result cannot be told as it stands: contradictory counts, or a time without its zone."""


class ConformanceError(Hl7Error):
    """A finished message breaks rules of our own check.

    Attributes
    ----------
    rules : tuple of str
        The broken rules, each with segment and field, without content.
    """

    def __init__(self, rules: tuple[str, ...]) -> None:
        super().__init__("the built message was not let out: " + "; ".join(rules))
        self.rules = rules


class AckUnreadable(Hl7Error):
    """What came back is no acknowledgement."""


class FramingError(Hl7Error):
    """Bytes are no MLLP block, or the block is larger than allowed."""
