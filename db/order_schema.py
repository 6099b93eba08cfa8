"""The tables of what the LIS tells: messages as they came, orders, patients and their merges.

All of them hold personal data but `case_orders`. Like the other tables they need a migration for each change.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import NUMBER, words
from db.schema import Base
from db.states import InboundState, OrderState

TAKEN = text("control_id <> '' AND state IN ('received', 'applied')")
"""The messages whose control ids are used up."""


class InboundMessage(Base):
    """One message as it was received; a trigger refuses to change what came."""

    __tablename__ = "inbound_messages"
    __table_args__ = (
        UniqueConstraint("message_id"),
        Index(
            "uq_inbound_messages_taken",
            "sender",
            "control_id",
            unique=True,
            sqlite_where=TAKEN,
            postgresql_where=TAKEN,
        ),
        Index(None, "sender", "control_id"),
        Index(None, "state"),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(36))
    sender: Mapped[str]
    control_id: Mapped[str]
    kind: Mapped[str]
    body: Mapped[bytes]
    sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[InboundState] = mapped_column(words(InboundState))
    reason: Mapped[str | None]
    answer_code: Mapped[str | None]
    answer: Mapped[bytes | None]
    received_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class PatientRow(Base):
    """A patient as the LIS last described them."""

    __tablename__ = "patients"

    patient_key: Mapped[str] = mapped_column(String(36), primary_key=True)
    family: Mapped[str | None]
    given: Mapped[str | None]
    birth_date: Mapped[str | None]
    sex: Mapped[str | None]
    updated_at: Mapped[datetime]


class PatientIdentifierRow(Base):
    """One identifier of a patient. After a merge it is the surviving patient's, and retired: known, but not reported."""

    __tablename__ = "patient_identifiers"
    __table_args__ = (Index(None, "patient_key"),)

    identifier: Mapped[str] = mapped_column(primary_key=True)
    authority: Mapped[str] = mapped_column(primary_key=True)
    patient_key: Mapped[str] = mapped_column(ForeignKey("patients.patient_key"))
    place: Mapped[int]
    retired: Mapped[bool]


class PatientMergeRow(Base):
    """One identifier that was merged into another; a trigger refuses to change or remove it."""

    __tablename__ = "patient_merges"
    __table_args__ = (Index(None, "survivor_key"), {"sqlite_autoincrement": True})

    merge_number: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    prior_identifier: Mapped[str]
    prior_authority: Mapped[str]
    survivor_identifier: Mapped[str]
    survivor_authority: Mapped[str]
    prior_key: Mapped[str | None] = mapped_column(String(36))
    survivor_key: Mapped[str] = mapped_column(String(36))
    message_id: Mapped[str | None] = mapped_column(String(36))
    at: Mapped[datetime]


class OrderRow(Base):
    """One order. Where no issuer is known it is empty; that of placer and filler is all its components, joined by ``^``."""

    __tablename__ = "orders"
    __table_args__ = (
        Index(None, "accession"),
        Index(None, "placer_order"),
        Index(None, "filler_order"),
        Index(None, "patient_key"),
    )

    order_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    state: Mapped[OrderState] = mapped_column(words(OrderState))
    accession: Mapped[str]
    accession_issuer: Mapped[str]
    placer_order: Mapped[str | None]
    placer_issuer: Mapped[str]
    filler_order: Mapped[str | None]
    filler_issuer: Mapped[str]
    service: Mapped[str]
    specimen: Mapped[str]
    collected: Mapped[datetime | None]
    patient_key: Mapped[str] = mapped_column(ForeignKey("patients.patient_key"))
    message_id: Mapped[str | None] = mapped_column(String(36))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CaseOrder(Base):
    """Which order a case belongs to; a person may also have said that there is none."""

    __tablename__ = "case_orders"
    __table_args__ = (Index(None, "order_id"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    order_id: Mapped[str | None] = mapped_column(ForeignKey("orders.order_id"))
    linked_by: Mapped[str | None]
    linked_at: Mapped[datetime]
