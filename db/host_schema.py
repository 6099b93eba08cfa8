"""The tables of the machines that share this database: which of them live, and which does what only one may do."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from db.schema import Base


class HostRow(Base):
    """One machine. `expires_at` is empty once it has signed off, or what it left was put in order."""

    __tablename__ = "hosts"

    host: Mapped[str] = mapped_column(String(80), primary_key=True)
    store_id: Mapped[str] = mapped_column(String(32))
    began_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class DutyRow(Base):
    """Something that one machine does for all, and which one does it."""

    __tablename__ = "duties"

    duty: Mapped[str] = mapped_column(String(120), primary_key=True)
    host: Mapped[str] = mapped_column(String(80))
    taken_at: Mapped[datetime]
    expires_at: Mapped[datetime]
