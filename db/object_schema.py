"""The tables of DICOM objects that we made, and of what archives said about keeping them.

They hold UIDs, hashes and names of our own; the objects themselves, which name the patient, are files.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import words
from db.schema import Base
from db.states import CommitmentState


class ResultObject(Base):
    """One object that tells a result, as it was frozen; triggers refuse to change it."""

    __tablename__ = "result_objects"
    __table_args__ = (Index(None, "case_id", "revision"),)

    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    revision: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    field_id: Mapped[str | None] = mapped_column(ForeignKey("fields.field_id"))
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    series_uid: Mapped[str] = mapped_column(String(64))
    study_uid: Mapped[str] = mapped_column(String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    stored_name: Mapped[str]
    replaces: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]


class Commitment(Base):
    """Whether an archive confirmed that it keeps what one message brought it (Storage Commitment, PS3.4 annex J)."""

    __tablename__ = "commitments"
    __table_args__ = (
        UniqueConstraint("message_id"),
        Index(None, "destination", "state"),
        Index(None, "transaction_uid"),
    )

    commitment_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(36))  # no foreign key: SQLite rebuilds `messages` now and then
    destination: Mapped[str]
    sop_instance_uid: Mapped[str] = mapped_column(ForeignKey("result_objects.sop_instance_uid"))
    state: Mapped[CommitmentState] = mapped_column(words(CommitmentState))
    transaction_uid: Mapped[str | None] = mapped_column(String(64))
    requests: Mapped[int]
    ask_again_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    settled_at: Mapped[datetime | None]
