"""OUL^R22, the unsolicited result of a specimen (HL7 2.5 and 2.5.1), for receivers that file by specimen.

Structure: ``MSH [SFT] PID PV1 SPM OBR ORC {OBX [NTE]}``; here OBR stands before ORC.
"""

from __future__ import annotations

from integrations.hl7.builder import MessageBuilder
from integrations.hl7.segments import Segments
from integrations.hl7.versions import Dialect


def write_oul(segments: Segments, dialect: Dialect) -> str:
    """The message's text, MSH-10 still to be stamped."""
    message = MessageBuilder("OUL_R22", dialect.version)
    segments.header(message)
    segments.person(message.group("OUL_R22_PATIENT"))
    segments.visit(message.group("OUL_R22_VISIT"))
    specimen = message.group("OUL_R22_SPECIMEN")
    segments.specimen(specimen)
    order = specimen.group("OUL_R22_ORDER")
    segments.request(order)
    segments.common_order(order)
    for number, row in enumerate(segments.rows, start=1):
        segments.observation(order.group(dialect.oul_result), number, row)
    return message.to_er7()
