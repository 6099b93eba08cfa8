"""What the LIS tells, as frozen values: in on the way to the tables, out of them as views."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from db.states import InboundState, OrderState


class OrderAction(StrEnum):
    """What is done with an order."""

    NEW = "new"
    CHANGE = "change"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class PatientIdentifier:
    """A patient identifier with the authority that assigned it; its `repr` hides both."""

    value: str = field(repr=False)
    authority: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PatientData:
    """What is said about a patient; hidden from the `repr`.

    Attributes
    ----------
    identifiers : tuple of PatientIdentifier
        At least one; the one to be reported first.
    family, given, birth_date, sex : str or None
        None leaves what is known, empty removes it. The date as in `db.views.Identity`.
    """

    identifiers: tuple[PatientIdentifier, ...] = field(repr=False)
    family: str | None = field(default=None, repr=False)
    given: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OrderData:
    """What is said about an order; hidden from the `repr`.

    Attributes
    ----------
    accession, accession_issuer : str
        The issuer is empty where none is named.
    placer_order, filler_order : str or None
    placer_issuer, filler_issuer : str
        The components of the entity identifier that follow the number, joined by ``^``.
    service, specimen : str
        Codes as they came.
    collected : datetime or None
        Aware.
    """

    action: OrderAction
    accession: str = field(repr=False)
    accession_issuer: str = field(default="", repr=False)
    placer_order: str | None = field(default=None, repr=False)
    placer_issuer: str = field(default="", repr=False)
    filler_order: str | None = field(default=None, repr=False)
    filler_issuer: str = field(default="", repr=False)
    service: str = ""
    specimen: str = ""
    collected: datetime | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OrderView:
    """One order with its patient; hidden from the `repr` what is personal.

    Attributes
    ----------
    patient : PatientData
        As it is known now; identifiers that are to be reported first, retired ones left out.
    patient_key : str
        Our opaque id of the patient.
    case_id : str or None
        The case it is linked to.
    message_id : str or None
        Of the received message that last changed it.
    """

    order_id: str
    state: OrderState
    accession: str = field(repr=False)
    accession_issuer: str = field(repr=False)
    placer_order: str | None = field(repr=False)
    placer_issuer: str = field(repr=False)
    filler_order: str | None = field(repr=False)
    filler_issuer: str = field(repr=False)
    service: str
    specimen: str
    collected: datetime | None = field(repr=False)
    patient: PatientData
    patient_key: str
    case_id: str | None
    message_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class InboundView:
    """One received message; `body` and `answer` hold personal data and are left out of the `repr`.

    Attributes
    ----------
    sender : str
        Application and facility as they stand in the message.
    kind : str
        Such as ``ORM^O01``.
    reason : str or None
        Why it was refused or failed; places, never contents.
    answer_code : str or None
        What was answered, such as ``AA``.
    """

    message_id: str
    position: int
    sender: str
    control_id: str
    kind: str
    body: bytes = field(repr=False)
    sha256: str
    state: InboundState
    reason: str | None
    answer_code: str | None
    answer: bytes | None = field(repr=False)
    received_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a message that was to be kept.

    Attributes
    ----------
    message : InboundView
    known : bool
        Whether the same bytes came before; `message` is that one.
    clash : bool
        Whether its control id belongs to another message of the same sender that was taken; then it is kept as refused.
    """

    message: InboundView
    known: bool = False
    clash: bool = False


@dataclass(frozen=True, slots=True)
class MergeView:
    """One identifier that was merged into another, and when."""

    prior: PatientIdentifier
    survivor: PatientIdentifier
    message_id: str | None
    at: datetime
