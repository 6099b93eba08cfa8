"""Our own check of a finished result, ORU^R01 or OUL^R22 of HL7 2.3 to 2.5.1, on its bytes.

hl7apy's validation lets text in a number, segments out of order, a missing PID and impossible times pass, and its
strict mode prints payloads. This check knows what it can be held to: the segment order, the required and the forbidden
fields of the version and of IHE LAB-3, values against their data type (OBX-2 and OBX-5), the status tables, times, set ids,
and the key of each observation. Rules are told with segment and field, never with content.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from types import MappingProxyType

from integrations.errors import ConformanceError
from integrations.hl7.control_id import MAX_LENGTH
from integrations.hl7.er7 import Segment, split_segments
from integrations.hl7.escape import Charset
from integrations.hl7.versions import DIALECTS, Dialect, MessageType, Version

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_SEGMENTS = 2000

_ORDER = {
    (MessageType.ORU_R01, True): "MSH [SFT] PID PV1 ORC OBR {OBX [NTE]} [SPM]",
    (MessageType.ORU_R01, False): "MSH PID PV1 ORC OBR {OBX [NTE]}",
    (MessageType.OUL_R22, True): "MSH [SFT] PID PV1 SPM OBR ORC {OBX [NTE]}",
}
"""Which segments follow each other, in the version with specimens and in those without."""

_REQUIRED = {
    "MSH": (3, 7, 9, 10, 11, 12),
    "SFT": (1, 2, 3, 4),
    "PID": (3, 5),
    "PV1": (2,),
    "ORC": (1, 3),
    "OBR": (3, 4, 22, 25),
    "OBX": (1, 2, 3, 11),
    "NTE": (1, 3),
    "SPM": (1, 4),
}
_ALLOWED = {
    ("MSH", 2): ("^~\\&",),
    ("MSH", 11): ("P", "T", "D"),
    ("MSH", 15): ("AL", "NE"),
    ("MSH", 16): ("AL", "NE", "ER", "SU"),  # table 0155
    ("MSH", 18): tuple(Charset),
    ("ORC", 1): ("RE",),
    ("OBR", 25): tuple("ACFIOPRSXYZ"),  # table 0123
    ("OBX", 8): ("A", "N"),  # table 0078, as far as it is used
    ("OBX", 11): tuple("CDFINOPRSUWX"),  # table 0085
}
# IHE LAB-3 forbids OBX-9, -10 and -12; fields after OBX-19 are not used, or not in these versions.
_FORBIDDEN = {"OBX": (9, 10, 12, *range(20, 40))}
_TIMES = {"MSH": (7,), "OBR": (7, 22), "OBX": (14, 19), "SPM": (17,)}

# Which observation statuses may stand under which status of the whole.
_OBX_UNDER_OBR = {"P": "PX", "R": "RX", "F": "FX", "C": "CFDWX", "X": "X"}
_VERIFIED = "FC"

_MOMENT = re.compile(r"\d{14}[+-]\d{4}", re.ASCII)
_LOCAL_MOMENT = re.compile(r"\d{14}", re.ASCII)
_DATE = re.compile(r"\d{8}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?|[+-]?\.\d+", re.ASCII)
_STRAY_ESCAPE = re.compile(r"\\[FSTREHN]\\|(\\)")


def require_conformance(message: bytes, *, time_zone: bool = True) -> None:
    """Raise `ConformanceError` with every broken rule, or return; see `violations`."""
    rules = tuple(violations(message, time_zone=time_zone))
    if rules:
        raise ConformanceError(rules)


def structure_of(message: MessageType, dialect: Dialect) -> str:
    """The segments of a message in their order; brackets: may be missing, braces: at least one."""
    return _ORDER[message, dialect.has_specimen]


def violations(message: bytes, *, time_zone: bool = True) -> Iterator[str]:
    """Yield the rules a message breaks, each with segment and field.

    Parameters
    ----------
    message : bytes
        Without MLLP framing.
    time_zone : bool
        Whether times carry their offset to UTC; if not, none may.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        yield f"the message has more than {MAX_MESSAGE_BYTES} bytes"
        return
    text = _decode(message)
    if text is None:
        yield "MSH-18: the bytes are not in the character set the message names"
        return
    try:
        segments = split_segments(text, MAX_SEGMENTS)
    except ValueError as error:
        yield f"the message {error}"
        return
    yield from _check_raw(text)
    yield from _check_fields(segments[0], _MOMENT if time_zone else _LOCAL_MOMENT)
    if segments[0].field(12) not in tuple(Version):
        yield "MSH-12 has a value outside its table"
        return
    dialect = DIALECTS[Version(segments[0].field(12))]
    message_type = next((each for each in dialect.messages if dialect.structure(each) == segments[0].field(9)), None)
    if message_type is None:
        yield f"MSH-9 has a value outside its table, or none of version {dialect.version}"
        return
    order = structure_of(message_type, dialect)
    if not _pattern(order).fullmatch(" ".join(segment.name for segment in segments)):
        yield f"the segments do not stand in the order {order}"
        return
    for segment in segments[1:]:
        yield from _check_fields(segment, _MOMENT if time_zone else _LOCAL_MOMENT)
    yield from _check_header(segments[0], dialect)
    yield from _check_patient(next(segment for segment in segments if segment.name == "PID"), dialect)
    yield from _check_observations(segments, dialect)


def _pattern(order: str) -> re.Pattern[str]:
    """The segments' names in a row: ``[X]`` any number, ``{X [Y]}`` at least one."""
    pattern = re.sub(r" \[(\w+)\]", r"( \1)*", order)
    return re.compile(re.sub(r" \{(.*)\}", r"( \1)+", pattern))


def _decode(message: bytes) -> str | None:
    header = message.split(b"\r", 1)[0].split(b"|")
    named = header[17].decode("ascii", errors="replace") if len(header) > 17 else ""
    codec = Charset(named).codec if named in tuple(Charset) else "ascii"
    try:
        return message.decode(codec)
    except UnicodeDecodeError:
        return None


def _check_raw(text: str) -> Iterator[str]:
    if not text.endswith("\r"):
        yield "the last segment is not ended by a carriage return"
    if re.search("[\x00-\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]", text):
        yield "the message holds a control character or a line break other than the carriage return"
    body = text.partition("\r")[2]
    if any(match.group(1) for match in _STRAY_ESCAPE.finditer(body)):
        yield "the message holds an escape character that begins no escape sequence"


def _check_fields(segment: Segment, moment: re.Pattern[str]) -> Iterator[str]:
    name = segment.name
    for number in _REQUIRED[name]:
        if not segment.field(number).strip("^~& "):
            yield f"{name}-{number} is required"
    for number in _FORBIDDEN.get(name, ()):
        if segment.field(number):
            yield f"{name}-{number} is not allowed"
    for (of, number), allowed in _ALLOWED.items():
        if of == name and segment.field(number) and segment.field(number) not in allowed:
            yield f"{name}-{number} has a value outside its table"
    for number in _TIMES.get(name, ()):
        if segment.field(number) and not _is_moment(segment.field(number), moment):
            yield f"{name}-{number} is no time {'with' if moment is _MOMENT else 'without'} its zone"
    if any(field == '""' for field in segment.fields):
        yield f"{name} holds an HL7 null, which deletes what the receiver has"


def _check_header(header: Segment, dialect: Dialect) -> Iterator[str]:
    control_id = header.field(10)
    if len(control_id) > MAX_LENGTH or not (control_id.isascii() and control_id.isalnum()):
        yield f"MSH-10 is not made of at most {MAX_LENGTH} letters and digits"
    if header.field(21) and not dialect.has_profile_id:
        yield "MSH-21 is not in this version"


def _check_patient(patient: Segment, dialect: Dialect) -> Iterator[str]:
    for identifier in patient.field(3).split("~"):
        components = [*identifier.split("^"), "", "", ""]
        if not components[0].strip() or not components[3].strip():
            yield "PID-3 needs the identifier and its assigning authority"
    born = patient.field(7)
    if born and not _is_date(born):
        yield "PID-7 is no date"
    if patient.field(8) not in ("", *dialect.sexes.values()):
        yield "PID-8 has a value outside its table"


def _check_observations(segments: tuple[Segment, ...], dialect: Dialect) -> Iterator[str]:
    request = next(segment for segment in segments if segment.name == "OBR")
    whole = request.field(25)
    if whole == "F" and not request.field(32):
        yield "OBR-32 is required for a result that a person verified"
    seen = set()
    observation, notes = 0, 0
    for segment in segments:
        if segment.name == "OBX":
            observation, notes = observation + 1, 0
            if segment.field(1) != str(observation):
                yield "OBX-1 does not count 1, 2, 3"
            key = (segment.field(3).split("^")[0], segment.field(3).split("^")[2:3], segment.field(4))
            if repr(key) in seen:
                yield "OBX-3 and OBX-4 together are not unique"
            seen.add(repr(key))
            yield from _check_value(segment, dialect)
            yield from _check_observation(segment, whole, dialect)
        elif segment.name == "NTE":
            notes += 1
            if segment.field(1) != str(notes):
                yield "NTE-1 does not count 1, 2, 3"


def _check_observation(observation: Segment, whole: str, dialect: Dialect) -> Iterator[str]:
    status = observation.field(11)
    if status not in _OBX_UNDER_OBR.get(whole, "") or (status in "DW" and status != dialect.wrong_patient):
        yield "OBX-11 contradicts OBR-25"
    if status in _VERIFIED and not observation.field(16):
        yield "OBX-16 is required for a result that a person verified"
    if not dialect.has_equipment and (observation.field(18) or observation.field(19)):
        yield "OBX-18 and OBX-19 are not in this version"


def _check_value(observation: Segment, dialect: Dialect) -> Iterator[str]:
    value, data_type = observation.field(5), observation.field(2)
    is_coded = data_type in ("CE", "CWE")
    if observation.field(11) == "X":
        if value:
            yield "OBX-5 has a value although OBX-11 says that there is none"
    elif not value:
        yield "OBX-5 is required"
    elif data_type not in _VALUES or (is_coded and data_type != dialect.coded):
        yield "OBX-2 names a data type that is not used here"
    else:
        is_valid, rule = _VALUES[data_type]
        if not is_valid(value):
            yield rule
        if data_type == "NM" and not observation.field(6):
            yield "OBX-6 is required for a number"
    if observation.field(8) and not is_coded:
        yield "OBX-8 is for a coded value; no range is given for a number"


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _is_plain_text(value: str) -> bool:
    return re.search(r"[\^&~]", value) is None


def _is_code(value: str) -> bool:
    return all(part.strip() for part in [*value.split("^"), "", ""][:3])


def _is_pointer(value: str) -> bool:
    components = value.split("^")
    return len(components) == 4 and all(component.strip() for component in components)


def _is_encapsulated(value: str) -> bool:
    components = value.split("^")
    if len(components) != 5 or components[3] != "Base64" or not components[1]:
        return False
    try:
        return len(base64.b64decode(components[4], validate=True)) > 0
    except binascii.Error:
        return False


_VALUES: Mapping[str, tuple[Callable[[str], bool], str]] = MappingProxyType(
    {
        "NM": (_is_number, "OBX-5 is no number (NM)"),
        "TX": (_is_plain_text, "OBX-5 has components, which a text (TX) has not"),
        "CE": (_is_code, "OBX-5 is no code with text and system (CE)"),
        "CWE": (_is_code, "OBX-5 is no code with text and system (CWE)"),
        "ED": (_is_encapsulated, "OBX-5 is no encapsulated data in Base64 (ED)"),
        "RP": (_is_pointer, "OBX-5 is no pointer (RP)"),
    }
)


def _is_moment(value: str, pattern: re.Pattern[str]) -> bool:
    if not pattern.fullmatch(value):
        return False
    try:
        datetime.strptime(value, "%Y%m%d%H%M%S%z" if pattern is _MOMENT else "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return False
    return True


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True
