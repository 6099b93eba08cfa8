"""Orders and patients as the LIS tells them: OML^O21, OML^O33, ORM^O01, ADT^A08, ADT^A40 of versions 2.3 to 2.5.1.

    OML^O21   MSH PID [PV1] {ORC OBR [SPM]}
    OML^O33   MSH PID [PV1] {SPM {ORC OBR}}
    ORM^O01   MSH PID [PV1] {ORC OBR}
    ADT^A08   MSH EVN PID
    ADT^A40   MSH EVN {PID MRG}

Other segments are passed over. What a prior result (ORC-1 PR) tells is none of our business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from integrations.hl7.ack import ErrorCode
from integrations.hl7.er7 import Segment
from integrations.hl7.received import Reader, rejection

MAX_ACCESSION = 64  # as in `case.json`
SEXES = ("A", "F", "M", "N", "O", "U")  # HL7 table 0001
PLACES = ("SPM-2", "OBR-18", "OBR-3", "ORC-3", "OBR-2", "ORC-2")
"""Where the accession number may stand."""


class OrderAction(StrEnum):
    """What a message does with an order."""

    NEW = "new"
    CHANGE = "change"
    CANCEL = "cancel"


ACTIONS: Mapping[str, OrderAction | None] = {
    **dict.fromkeys(("NW", "RO", "PA", "CH", "RL"), OrderAction.NEW),
    **dict.fromkeys(("XO", "XX", "XR", "SC", "SN", "NA", "SR"), OrderAction.CHANGE),
    **dict.fromkeys(("CA", "CR", "DC", "DR", "OC", "OD", "RP", "RU", "HD"), OrderAction.CANCEL),
    "PR": None,
}
"""Order control codes (ORC-1, HL7 table 0119). An order that is on hold (HD) is taken for cancelled until it is released
(RL); one that is replaced (RP, RU) is cancelled, and the one in its place (RO) new."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A patient identifier with the authority that assigned it, its namespace or else its universal id (PID-3)."""

    value: str = field(repr=False)
    authority: str = field(repr=False)
    kind: str = ""


@dataclass(frozen=True, slots=True)
class EntityId:
    """A number with the components that name its issuer (EI): namespace, universal id, its type."""

    number: str = field(repr=False)
    issuer: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """What a message says about a patient; hidden from the `repr`.

    Attributes
    ----------
    identifiers : tuple of Identifier
        The one to be reported first.
    family, given, birth_date, sex : str or None
        None where the message does not say, empty where it says that there is none. The date is ISO 8601, ``YYYY``,
        ``YYYY-MM`` or ``YYYY-MM-DD``.
    """

    identifiers: tuple[Identifier, ...] = field(repr=False)
    family: str | None = field(default=None, repr=False)
    given: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One order of a message.

    Attributes
    ----------
    action : OrderAction
    control_code : str
        ORC-1.
    accession : EntityId
    placer, filler : EntityId or None
    service : str
        OBR-4.1, empty where there is none.
    specimen : str
        SPM-4.1 or OBR-15.1, empty where there is none.
    collected : datetime or None
        When the specimen was taken; aware.
    """

    action: OrderAction
    control_code: str
    accession: EntityId
    placer: EntityId | None
    filler: EntityId | None
    service: str = ""
    specimen: str = ""
    collected: datetime | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """OML or ORM: orders for one patient; `orders` is empty where none of them is ours."""

    patient: PatientRecord
    orders: tuple[OrderLine, ...]


@dataclass(frozen=True, slots=True)
class PatientUpdate:
    """ADT^A08."""

    patient: PatientRecord


@dataclass(frozen=True, slots=True)
class PatientMerge:
    """One merge of ADT^A40: what was known under `prior` is the patient's from now on."""

    patient: PatientRecord
    prior: tuple[Identifier, ...]


Content = OrderMessage | PatientUpdate | tuple[PatientMerge, ...]


@dataclass(frozen=True, slots=True)
class OrderRules:
    """What differs from one LIS to the next.

    Attributes
    ----------
    accession_fields : tuple of str
        Where the accession number stands, out of `PLACES`; the first that is not empty counts.
    service_codes : frozenset of str
        OBR-4.1 of the orders that are ours; empty for all.
    patient_authority : str
        Whose identifier is reported where PID-3 has several; empty for the medical record number, or else the first.
    default_authority : str
        Of identifiers for which PID-3 names none; empty refuses them.
    """

    accession_fields: tuple[str, ...] = ("SPM-2", "OBR-18", "OBR-3", "ORC-3")
    service_codes: frozenset[str] = frozenset()
    patient_authority: str = ""
    default_authority: str = ""


def read_content(reader: Reader, rules: OrderRules) -> Content:
    """Read what a message tells.

    Raises
    ------
    MessageRefused
        With everything that is wrong.
    """
    kinds: dict[str, dict[str, Callable[[Reader, OrderRules], Content]]] = {
        "OML": {"O21": _orders, "O33": _orders},
        "ORM": {"O01": _orders},
        "ADT": {"A08": _update, "A40": _merges},
    }
    triggers = kinds.get(reader.header.message_type)
    if triggers is None:
        text = f"message types taken are {', '.join(kinds)}"
        raise rejection(ErrorCode.UNSUPPORTED_MESSAGE_TYPE, "MSH", 9, text)
    read = triggers.get(reader.trigger)
    if read is None:
        text = f"of this message type the events taken are {', '.join(triggers)}"
        raise rejection(ErrorCode.UNSUPPORTED_EVENT_CODE, "MSH", 9, text)
    content = read(reader, rules)
    reader.finish()
    return content


# --------------------------------------------------------------------------------------------------------------- patient
def _update(reader: Reader, rules: OrderRules) -> PatientUpdate:
    return PatientUpdate(_patient(reader, _first(reader, "PID"), rules))


def _merges(reader: Reader, rules: OrderRules) -> tuple[PatientMerge, ...]:
    merges: list[PatientMerge] = []
    pid: Segment | None = None
    for segment in reader.segments:
        if segment.name == "PID":
            if pid is not None:
                reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, pid, 0, "is not followed by MRG")
            pid = segment
        elif segment.name == "MRG":
            if pid is None:
                reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, segment, 0, "stands without a PID before it")
                continue
            merges.append(PatientMerge(_patient(reader, pid, rules), _identifiers(reader, segment, 1, rules)))
            pid = None
    if pid is not None:
        reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, pid, 0, "is not followed by MRG")
    elif not merges:
        reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, "PID", 0, "the segment is missing")
    return tuple(merges)


def _first(reader: Reader, name: str) -> Segment | None:
    return next((segment for segment in reader.segments if segment.name == name), None)


def _patient(reader: Reader, pid: Segment | None, rules: OrderRules) -> PatientRecord:
    if pid is None:
        reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, "PID", 0, "the segment is missing")
        return PatientRecord(())
    family, given = _name(reader, pid)
    sex = reader.component(pid, 8)
    sex = sex and sex.upper()
    if sex and sex not in SEXES:
        text = f"must be one of {', '.join(SEXES)} (HL7 table 0001)"
        reader.problem(ErrorCode.TABLE_VALUE_NOT_FOUND, pid, 8, text)
    return PatientRecord(_identifiers(reader, pid, 3, rules), family, given, reader.day(pid, 7), sex)


def _name(reader: Reader, pid: Segment) -> tuple[str | None, str | None]:
    """The legal name (type L), or else the first."""
    names = [reader.components(name) for name in reader.repetitions(pid, 5)]
    if not names:
        return None, None
    chosen = next((name for name in names if len(name) > 6 and name[6].strip() == "L"), names[0])
    parts = [reader.text(reader.subcomponents(part)[0], pid, 5) for part in chosen[:2]]
    return parts[0], parts[1] if len(parts) > 1 else None


def _identifiers(reader: Reader, segment: Segment, field: int, rules: OrderRules) -> tuple[Identifier, ...]:
    """The identifiers of a CX field, the one to be reported first; a field without any is a problem."""
    found: list[Identifier] = []
    incomplete = False
    for value in reader.repetitions(segment, field):
        parts = [*reader.components(value), "", "", "", ""]
        identifier, kind = (reader.text(reader.subcomponents(parts[place])[0], segment, field) for place in (0, 4))
        authority = _authority(reader, segment, field, parts[3]) or rules.default_authority
        if identifier and authority:
            found.append(Identifier(identifier, authority, kind or ""))
        incomplete = incomplete or bool(identifier and not authority)
    if not found:
        text = "the assigning authority is missing" if incomplete else "the patient identifier is missing"
        reader.problem(ErrorCode.REQUIRED_FIELD_MISSING, segment, field, text)
    return tuple(sorted(dict.fromkeys(found), key=lambda each: _rank(each, rules)))


def _authority(reader: Reader, segment: Segment, field: int, value: str) -> str:
    """Who assigned an identifier (HD): the namespace, or else the universal id."""
    parts = [reader.text(part, segment, field) for part in reader.subcomponents(value)[:2]]
    return next((part for part in parts if part), "")


def _rank(identifier: Identifier, rules: OrderRules) -> int:
    if rules.patient_authority and identifier.authority == rules.patient_authority:
        return 0
    return 1 if identifier.kind == "MR" else 2


# ---------------------------------------------------------------------------------------------------------------- orders
@dataclass(slots=True)
class _Group:
    """The segments of one order."""

    orc: Segment
    obr: Segment | None = None
    spm: Segment | None = None


def _orders(reader: Reader, rules: OrderRules) -> OrderMessage:
    patient = _patient(reader, _first(reader, "PID"), rules)
    groups = list(_groups(reader))
    if not groups:
        reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, "ORC", 0, "the segment is missing")
    orders = []
    for group in groups:
        order = _order(reader, group, rules)
        ours = not rules.service_codes or order is None or group.obr is None or order.service in rules.service_codes
        if order is not None and ours:
            orders.append(order)
    return OrderMessage(patient, tuple(orders))


def _groups(reader: Reader) -> Iterator[_Group]:
    """ORC with its OBR and its specimen: one that follows it (O21), or stands before the orders of it (O33)."""
    specimen_first = reader.trigger == "O33"
    first = _first(reader, "PID")
    group: _Group | None = None
    specimen: Segment | None = None
    for segment in reader.segments:
        if segment.name == "PID":
            if first is not None and reader.repetitions(first, 3)[:1] != reader.repetitions(segment, 3)[:1]:
                text = "names a second patient: send each patient's orders in their own message"
                reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, segment, 0, text)
        elif segment.name == "SPM":
            if specimen_first:
                specimen = segment
            elif group is not None:
                group.spm = group.spm or segment
        elif segment.name == "ORC":
            if group is not None:
                yield group
            group = _Group(segment, spm=specimen)
        elif segment.name == "OBR":
            if group is None or group.obr is not None:
                reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, segment, 0, "has no ORC before it")
            else:
                group.obr = segment
    if group is not None:
        yield group


def _order(reader: Reader, group: _Group, rules: OrderRules) -> OrderLine | None:
    code = (reader.component(group.orc, 1) or "").upper()
    if not code:
        reader.problem(ErrorCode.REQUIRED_FIELD_MISSING, group.orc, 1, "the order control code is missing")
        return None
    if code not in ACTIONS:
        text = f"codes taken are {', '.join(ACTIONS)} (HL7 table 0119)"
        reader.problem(ErrorCode.TABLE_VALUE_NOT_FOUND, group.orc, 1, text)
        return None
    action = ACTIONS[code]
    if action is None:
        return None
    if group.obr is None and action is not OrderAction.CANCEL:
        reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, group.orc, 0, "is not followed by OBR")
        return None
    accession = next(filter(None, (_number(reader, group, place) for place in rules.accession_fields)), None)
    if accession is None or len(accession.number) > MAX_ACCESSION:
        places = ", ".join(rules.accession_fields)
        text = f"no accession number of at most {MAX_ACCESSION} characters; it is looked for in {places}"
        where = group.orc if group.obr is None else group.obr
        reader.problem(ErrorCode.REQUIRED_FIELD_MISSING, where, 3, text)
        return None
    return OrderLine(
        action=action,
        control_code=code,
        accession=accession,
        placer=_number(reader, group, "ORC-2") or _number(reader, group, "OBR-2"),
        filler=_number(reader, group, "ORC-3") or _number(reader, group, "OBR-3"),
        service=(reader.component(group.obr, 4) if group.obr else None) or "",
        specimen=_specimen(reader, group),
        collected=_collected(reader, group),
    )


def _number(reader: Reader, group: _Group, place: str) -> EntityId | None:
    """The number that stands in a place, with its issuer."""
    name, _, digits = place.partition("-")
    segment, field = {"ORC": group.orc, "OBR": group.obr, "SPM": group.spm}[name], int(digits)
    values = reader.repetitions(segment, field) if segment is not None else []
    if segment is None or not values:
        return None
    parts = reader.components(values[0])
    if name != "SPM":
        return _entity(reader, [reader.subcomponents(part)[0] for part in parts], segment, field)
    # EIP: the placer's number and the filler's, which goes first; the parts of each are subcomponents.
    pair = (_entity(reader, reader.subcomponents(part), segment, field) for part in reversed(parts[:2]))
    return next(filter(None, pair), None)


def _entity(reader: Reader, parts: list[str], segment: Segment, field: int) -> EntityId | None:
    number = reader.text(parts[0], segment, field)
    if not number:
        return None
    issuer = [reader.text(part, segment, field) or "" for part in parts[1:4]]
    while issuer and not issuer[-1]:
        issuer.pop()
    return EntityId(number, tuple(issuer))


def _specimen(reader: Reader, group: _Group) -> str:
    found = reader.component(group.spm, 4) if group.spm is not None else None
    if not found and group.obr is not None:
        found = reader.component(group.obr, 15)
    return found or ""


def _collected(reader: Reader, group: _Group) -> datetime | None:
    found = reader.moment(group.spm, 17) if group.spm is not None else None
    if found is None and group.obr is not None:
        found = reader.moment(group.obr, 7)
    return found
