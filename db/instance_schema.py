"""The table of DICOM instances that were accepted. It holds UIDs and titles of machines, and nothing about a patient."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import NUMBER, words
from db.schema import Base
from db.states import InstanceState

FIRST = text("state <> 'conflict'")
"""The instances that stand for their SOP instance UID."""


class Instance(Base):
    """One content that came under a SOP instance UID; triggers refuse to change what came.

    One row of a UID counts; every other content that came under it is a `conflict`, and kept.
    """

    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("instance_id"),
        UniqueConstraint("sop_instance_uid", "sha256"),
        Index("uq_instances_first", "sop_instance_uid", unique=True, sqlite_where=FIRST, postgresql_where=FIRST),
        Index(None, "state", "position"),
        Index(None, "case_id"),
        Index(None, "sha256"),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    instance_id: Mapped[str] = mapped_column(String(36))
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64))
    study_uid: Mapped[str | None] = mapped_column(String(64))
    series_uid: Mapped[str | None] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    stored_name: Mapped[str]
    source: Mapped[str]
    calling_ae: Mapped[str | None]
    state: Mapped[InstanceState] = mapped_column(words(InstanceState))
    reason: Mapped[str | None]
    case_id: Mapped[str | None] = mapped_column(ForeignKey("cases.case_id"))
    received_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
