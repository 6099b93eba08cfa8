"""From the result of one case to the bytes for one destination.

A result that no person has verified leaves as preliminary; a case that was rejected, or had no usable field, says so with
OBX-11 X and the reason; each version tells everything and has its own control id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from integrations.hl7.conformance import require_conformance
from integrations.hl7.control_id import derive_control_id, stamp_control_id
from integrations.hl7.oru import write_oru
from integrations.hl7.oul import write_oul
from integrations.hl7.profile import Profile
from integrations.hl7.result import ReportedResult, require_tellable
from integrations.hl7.segments import Segments
from integrations.hl7.versions import MessageType


@dataclass(frozen=True, slots=True)
class ResultMessage:
    """A finished message.

    Attributes
    ----------
    control_id : str
        MSH-10.
    body : bytes
        As it is sent, without MLLP framing. Holds personal data.
    sha256 : str
        Of `body`, hex.
    """

    control_id: str
    body: bytes = field(repr=False)
    sha256: str


def build_message(result: ReportedResult, profile: Profile, destination: str) -> ResultMessage:
    """Build the message that tells one version of a case's result to one destination.

    Parameters
    ----------
    result : ReportedResult
    profile : Profile
        Of the destination.
    destination : str
        The destination's name; goes into the control id.

    Returns
    -------
    ResultMessage
        Checked by `conformance`; equal arguments give equal bytes.

    Raises
    ------
    PatientUnknown
        Without patient identifier or assigning authority: the case is to be held.
    TextRefused
        A text cannot be sent; the field is named.
    ResultRefused
        Contradictory counts or status, a time without zone, an unknown sex.
    ConformanceError
        The finished message breaks our own check: a fault of the program, not of its input.
    """
    segments = Segments(result, require_tellable(result), profile)
    write = write_oul if profile.message is MessageType.OUL_R22 else write_oru
    body = write(segments, profile.dialect).encode(profile.charset.codec)
    control_id = derive_control_id(result.case_id, result.revision, destination, body)
    body = stamp_control_id(body, control_id)
    require_conformance(body, time_zone=profile.time_zone)
    return ResultMessage(control_id, body, hashlib.sha256(body).hexdigest())
