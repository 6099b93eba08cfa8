"""The tables of people's acts; triggers refuse to change or remove a row. Comments are a person's words and may be personal data."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import NUMBER
from db.schema import Base
from sphero_core.types import CellClass


class ReportActRow(Base):
    """Who stands behind a version of a result: signed, rejected or withdrawn by whom, and in which words.

    `grade` is what the person made of `machine_grade`; both are empty where the grade was left as it was.
    """

    __tablename__ = "report_acts"

    report_id: Mapped[str] = mapped_column(ForeignKey("reports.report_id"), primary_key=True)
    act: Mapped[str] = mapped_column(String(16))
    login: Mapped[str]
    identifier: Mapped[str]
    authority: Mapped[str]
    family: Mapped[str]
    given: Mapped[str]
    comment: Mapped[str]
    grade: Mapped[str | None]
    machine_grade: Mapped[str | None]
    grade_reason: Mapped[str]
    at: Mapped[datetime]


class CellReviewRow(Base):
    """A class that a person gave a cell; the machine's call stays in `cells`, and the latest review of a cell counts."""

    __tablename__ = "cell_reviews"
    __table_args__ = (
        ForeignKeyConstraint(["analysis_id", "number"], ["cells.analysis_id", "cells.number"]),
        Index(None, "analysis_id", "number"),
        Index(None, "case_id"),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    analysis_id: Mapped[int]
    number: Mapped[int]
    cell_class: Mapped[CellClass]
    login: Mapped[str]
    at: Mapped[datetime]


class ReportFileRow(Base):
    """A report for people as it was made for one version: where it lies in our store, and its hash."""

    __tablename__ = "report_files"

    report_id: Mapped[str] = mapped_column(ForeignKey("reports.report_id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    stored_name: Mapped[str]
    at: Mapped[datetime]
