"""The tables of what others asked us to commit ourselves to keep (DICOM Storage Commitment, we being the provider).

They hold UIDs and titles of machines, and nothing about a patient.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import words
from db.schema import Base
from db.states import PledgeState


class Pledge(Base):
    """One request for commitment and whether it is answered."""

    __tablename__ = "pledges"
    __table_args__ = (UniqueConstraint("requester", "transaction_uid"), Index(None, "state", "next_attempt_at"))

    pledge_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    requester: Mapped[str] = mapped_column(String(16))
    transaction_uid: Mapped[str] = mapped_column(String(64))
    state: Mapped[PledgeState] = mapped_column(words(PledgeState))
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime]
    received_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    reason: Mapped[str | None]


class PledgeItem(Base):
    """One instance of a request."""

    __tablename__ = "pledge_items"

    pledge_id: Mapped[str] = mapped_column(ForeignKey("pledges.pledge_id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
