"""ORU^R01, the unsolicited result of an order.

Structure (IHE LAB-3): ``MSH [SFT] PID PV1 ORC OBR {OBX [NTE]} [SPM]``; without SFT and SPM before HL7 2.5.
"""

from __future__ import annotations

from integrations.hl7.builder import MessageBuilder
from integrations.hl7.segments import Segments
from integrations.hl7.versions import Dialect


def write_oru(segments: Segments, dialect: Dialect) -> str:
    """The message's text, MSH-10 still to be stamped."""
    message = MessageBuilder("ORU_R01", dialect.version)
    segments.header(message)
    result = message.group(dialect.patient_result)
    patient = result.group("ORU_R01_PATIENT")
    segments.person(patient)
    segments.visit(patient.group("ORU_R01_VISIT"))
    order = result.group("ORU_R01_ORDER_OBSERVATION")
    segments.common_order(order)
    segments.request(order)
    for number, row in enumerate(segments.rows, start=1):
        segments.observation(order.group("ORU_R01_OBSERVATION"), number, row)
    if dialect.has_specimen:
        segments.specimen(order.group("ORU_R01_SPECIMEN"))
    return message.to_er7()
