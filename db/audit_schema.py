"""The table of how far the audit log was told to others."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from db.schema import Base


class AuditCursorRow(Base):
    """One receiver: the last event it has, by number and hash."""

    __tablename__ = "audit_cursors"

    receiver: Mapped[str] = mapped_column(String(40), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
    moved_at: Mapped[datetime]
