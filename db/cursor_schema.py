"""The tables of how far the stores that we ask were looked through. They hold UIDs, dates and counts, nothing about a patient."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Date, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.schema import Base


class StoreCursor(Base):
    """One store: until when everything in it was seen."""

    __tablename__ = "store_cursors"

    store: Mapped[str] = mapped_column(String(40), primary_key=True)
    complete_until: Mapped[date | None] = mapped_column(Date())
    asked_at: Mapped[datetime | None]
    swept_at: Mapped[datetime | None]


class StoreStudy(Base):
    """One study of a store that was looked through, and how many instances the store had of it then.

    One that was passed over was there, and too old, when the store was asked for the first time.
    """

    __tablename__ = "store_studies"

    store: Mapped[str] = mapped_column(String(40), primary_key=True)
    study_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    instances: Mapped[int]
    passed_over: Mapped[bool]
    seen_at: Mapped[datetime]


class StoreFailure(Base):
    """One instance that did not come from a store, and when it is tried again."""

    __tablename__ = "store_failures"
    __table_args__ = (Index(None, "store", "not_before"),)

    store: Mapped[str] = mapped_column(String(40), primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    study_uid: Mapped[str] = mapped_column(String(64))
    series_uid: Mapped[str] = mapped_column(String(64))
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    attempts: Mapped[int]
    reason: Mapped[str]
    not_before: Mapped[datetime]
