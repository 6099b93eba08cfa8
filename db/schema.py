"""The tables.

Personal data stand in `case_identities`, in `messages` (bodies and answers), and in the tables of
`db.order_schema` and `db.header_schema` only; a person's comment in `db.review_schema` may hold some.
Every time is kept in UTC. A change here needs a migration in `db/migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.columns import NUMBER, Measure, UtcDateTime, words
from db.states import CaseState, FieldState, HoldReason, MessageState
from sphero_core.types import CellClass

UNFINISHED = text("state NOT IN ('delivered', 'skipped')")
"""The messages that the queue has to look at; the indexes hold no others."""

BATCHED = text("batch IS NOT NULL")
"""The messages that left in a file together with others."""


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that a migration can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        str: Text(),
        datetime: UtcDateTime(),
        float: Double(),
        CaseState: words(CaseState),
        FieldState: words(FieldState),
        HoldReason: words(HoldReason),
        MessageState: words(MessageState),
        CellClass: words(CellClass),
    }


class Case(Base):
    """A case, without personal data."""

    __tablename__ = "cases"
    __table_args__ = (Index(None, "state", "last_arrival_at"),)

    case_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    state: Mapped[CaseState]
    return_state: Mapped[CaseState | None]
    revision: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_arrival_at: Mapped[datetime]
    expected_fields: Mapped[int | None]
    um_per_pixel: Mapped[float | None]
    pixel_aspect: Mapped[float | None]
    stain: Mapped[str | None]
    attempts: Mapped[int]
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    flow_run_id: Mapped[str | None]


class CaseIdentity(Base):
    """Whose case it is.

    `arrival_*` is the key the fields come under (the folder's name), `accession*` what is reported; a manifest may make
    them differ. Where no issuer is known it is empty, since NULL would not be unique. Only rejected cases are not active.
    """

    __tablename__ = "case_identities"
    __table_args__ = (
        Index(
            "uq_case_identities_arrival",
            "arrival_accession",
            "arrival_issuer",
            unique=True,
            sqlite_where=text("active"),
            postgresql_where=text("active"),
        ),
        Index(
            "uq_case_identities_accession",
            "accession",
            "accession_issuer",
            unique=True,
            sqlite_where=text("active"),
            postgresql_where=text("active"),
        ),
    )

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    active: Mapped[bool]
    arrival_accession: Mapped[str]
    arrival_issuer: Mapped[str]
    accession: Mapped[str]
    accession_issuer: Mapped[str]
    placer_order: Mapped[str | None]
    placer_issuer: Mapped[str | None]
    filler_order: Mapped[str | None]
    filler_issuer: Mapped[str | None]
    patient_id: Mapped[str | None]
    patient_issuer: Mapped[str | None]
    family: Mapped[str | None]
    given: Mapped[str | None]
    birth_date: Mapped[str | None]
    sex: Mapped[str | None]
    collected: Mapped[datetime | None]


class CaseHold(Base):
    """One reason for which a case is held; the row goes when it is released, the audit keeps it."""

    __tablename__ = "case_holds"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    reason: Mapped[HoldReason] = mapped_column(primary_key=True)
    placed_at: Mapped[datetime]


class StoredFile(Base):
    """One content in our store, whatever cases it came for."""

    __tablename__ = "stored_files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str]
    stored_name: Mapped[str]
    first_seen_at: Mapped[datetime]


class Field(Base):
    """A field of a case."""

    __tablename__ = "fields"
    __table_args__ = (
        UniqueConstraint("case_id", "sha256", "frame"),
        UniqueConstraint("case_id", "number"),
        Index(None, "sha256"),
    )

    field_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    number: Mapped[int]
    sha256: Mapped[str] = mapped_column(ForeignKey("stored_files.sha256"))
    frame: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    state: Mapped[FieldState]
    reason: Mapped[str | None]
    received_at: Mapped[datetime]


class Quarantined(Base):
    """A file that was refused before it became a field."""

    __tablename__ = "quarantined_files"
    __table_args__ = (Index(None, "case_id"),)

    quarantine_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case_id: Mapped[str | None] = mapped_column(ForeignKey("cases.case_id"))
    sha256: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    stored_name: Mapped[str | None]
    at: Mapped[datetime]


class Arrival(Base):
    """A source that was dealt with. Its key is kept as a digest only, since a path may hold an accession number."""

    __tablename__ = "arrivals"

    source_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    frame: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    field_id: Mapped[str | None] = mapped_column(ForeignKey("fields.field_id"))
    quarantine_id: Mapped[str | None] = mapped_column(ForeignKey("quarantined_files.quarantine_id"))
    at: Mapped[datetime]


class Analysis(Base):
    """One run of one model bundle over one field."""

    __tablename__ = "analyses"
    __table_args__ = (UniqueConstraint("field_id", "bundle_sha256"), {"sqlite_autoincrement": True})

    analysis_id: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    field_id: Mapped[str] = mapped_column(ForeignKey("fields.field_id"))
    bundle_name: Mapped[str]
    bundle_version: Mapped[str]
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    cell_diameter_px: Mapped[float] = mapped_column(Measure, nullable=True)
    passes: Mapped[int]
    seconds: Mapped[float]
    saturated: Mapped[bool]
    quality_accepted: Mapped[bool]
    quality_reasons: Mapped[str]
    at: Mapped[datetime]


class CellRow(Base):
    """One cell of an analysis; `mask` is packed by `db.masks`; its measures stand in `db.measure_schema`."""

    __tablename__ = "cells"

    analysis_id: Mapped[int] = mapped_column(ForeignKey("analyses.analysis_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    cell_class: Mapped[CellClass]
    score: Mapped[float]
    red_cell_score: Mapped[float]
    x: Mapped[int]
    y: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    mask: Mapped[bytes]
    touches_border: Mapped[bool]
    overlaps: Mapped[bool]


class Report(Base):
    """One version of the result of a case; triggers refuse to change it. Where no field was analysed, `bundle_*` is empty.

    `grade`, `grade_scheme` and `detected` are there to be asked for; `statistics` (JSON, see `db.report_counts`) holds all of
    the grading and the case's statistics.
    """

    __tablename__ = "reports"
    __table_args__ = (UniqueConstraint("case_id", "revision"),)

    report_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    revision: Mapped[int]
    status: Mapped[str] = mapped_column(String(1))
    red_cells: Mapped[int]
    spherocytes: Mapped[int]
    spherocyte_percent: Mapped[float | None]
    ci95_low: Mapped[float | None]
    ci95_high: Mapped[float | None]
    counted_fields: Mapped[int]
    limitations: Mapped[str]
    bundle_name: Mapped[str]
    bundle_version: Mapped[str]
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    body: Mapped[str]
    created_at: Mapped[datetime]
    not_obtained: Mapped[str | None]
    grade: Mapped[str | None]
    grade_scheme: Mapped[str | None]
    detected: Mapped[bool | None]
    statistics: Mapped[str | None]


class Picture(Base):
    """A picture that may be served by its random id."""

    __tablename__ = "pictures"
    __table_args__ = (UniqueConstraint("field_id", "kind"), Index(None, "case_id"))

    picture_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    field_id: Mapped[str] = mapped_column(ForeignKey("fields.field_id"))
    kind: Mapped[str]
    stored_name: Mapped[str]
    media_type: Mapped[str]
    created_at: Mapped[datetime]


class Message(Base):
    """One outbound message; a trigger refuses to change its bytes, hash, control id or place.

    `part` is the SOP instance UID of a DICOM object, and empty for HL7, where one message tells all of a version.
    `edition` counts from 1 the messages that tell one version of a case to one destination: a person who corrects a
    refused message makes the next edition, which `supersedes` it. `batch` numbers the files of a destination that takes
    several messages in one file.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("message_id"),
        UniqueConstraint("control_id"),
        UniqueConstraint("case_id", "revision", "destination", "part", "edition"),
        UniqueConstraint("supersedes"),
        Index(
            "ix_messages_queue",
            "destination",
            "position",
            sqlite_where=UNFINISHED,
            postgresql_where=UNFINISHED,
        ),
        Index(
            "ix_messages_order",
            "destination",
            "order_key",
            "position",
            sqlite_where=UNFINISHED,
            postgresql_where=UNFINISHED,
        ),
        Index(
            "ix_messages_batch",
            "destination",
            "batch",
            sqlite_where=BATCHED,
            postgresql_where=BATCHED,
        ),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(36))
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    revision: Mapped[int]
    destination: Mapped[str]
    part: Mapped[str]
    edition: Mapped[int]
    supersedes: Mapped[str | None] = mapped_column(String(36))
    order_key: Mapped[str]
    control_id: Mapped[str]
    body: Mapped[bytes]
    sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[MessageState]
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    ack_code: Mapped[str | None]
    ack: Mapped[bytes | None]
    ack_seconds: Mapped[float | None]
    batch: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class AuditRow(Base):
    """One link of the audit chain; triggers refuse to change or remove it."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "case_id"),)

    sequence: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    case_id: Mapped[str | None] = mapped_column(String(36))
    detail: Mapped[str]
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Base):
    """The end of the chain, one row; whoever writes events locks it, which puts all writers in one order."""

    __tablename__ = "audit_head"

    head_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
