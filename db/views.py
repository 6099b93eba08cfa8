"""What leaves a transaction: frozen values, never rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from db.review_views import ReportAct
from db.states import CaseState, FieldState, HoldReason, MessageState, ReportStatus
from sphero_core.types import BundleId, CaseCounts, FieldFindings


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose case it is: personal data, kept in one table; its `repr` hides all of it.

    Attributes
    ----------
    accession : str
        The number the LIS ordered under.
    accession_issuer : str or None
        Who gave that number.
    placer_order, filler_order : str or None
        As the LIS gave them; echoed, never minted.
    placer_issuer, filler_issuer : str or None
        The components that follow the number in the order, joined by ``^``.
    patient_id, patient_issuer, family, given : str or None
    birth_date : str or None
        ISO 8601, ``YYYY``, ``YYYY-MM`` or ``YYYY-MM-DD``.
    sex : str or None
        HL7 table 0001.
    collected : datetime or None
        When the specimen was taken; aware.
    """

    accession: str = field(repr=False)
    accession_issuer: str | None = field(default=None, repr=False)
    placer_order: str | None = field(default=None, repr=False)
    filler_order: str | None = field(default=None, repr=False)
    patient_id: str | None = field(default=None, repr=False)
    patient_issuer: str | None = field(default=None, repr=False)
    family: str | None = field(default=None, repr=False)
    given: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)
    collected: datetime | None = field(default=None, repr=False)
    placer_issuer: str | None = field(default=None, repr=False)
    filler_issuer: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How the fields of a case were taken, as far as it was told.

    Attributes
    ----------
    expected_fields : int or None
    um_per_pixel : float or None
        Micrometres per pixel after un-stretching.
    pixel_aspect : float or None
        Display width over height of one stored pixel.
    stain : str or None
    """

    expected_fields: int | None = None
    um_per_pixel: float | None = None
    pixel_aspect: float | None = None
    stain: str | None = None


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case, without personal data.

    Attributes
    ----------
    case_id : str
        Opaque.
    state : CaseState
    hold_reasons : tuple of HoldReason
        Not empty exactly when `state` is held.
    return_state : CaseState or None
        Where a held case goes when it is released.
    revision : int
        Of the report that is out or comes next, from 1.
    fields_accepted, fields_analysed, fields_quarantined : int
        Fields by their state; accepted are those still without an outcome.
    files_quarantined : int
        Refused files that never became a field.
    created_at, last_arrival_at : datetime
        The latter: when the last new field or refused file came.
    acquisition : Acquisition
    attempts : int
        Claims since the case last got on; over the cap it is held.
    lease_owner : str or None
    lease_expires_at : datetime or None
    flow_run_id : str or None
    """

    case_id: str
    state: CaseState
    hold_reasons: tuple[HoldReason, ...]
    return_state: CaseState | None
    revision: int
    fields_accepted: int
    fields_analysed: int
    fields_quarantined: int
    files_quarantined: int
    created_at: datetime
    last_arrival_at: datetime
    acquisition: Acquisition
    attempts: int
    lease_owner: str | None
    lease_expires_at: datetime | None
    flow_run_id: str | None

    @property
    def fields(self) -> int:
        """All fields of the case, quarantined ones included."""
        return self.fields_accepted + self.fields_analysed + self.fields_quarantined


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field.

    Attributes
    ----------
    number : int
        The fields of a case are numbered from 1 in the order they came.
    width, height : int
        Stored size in pixels.
    stored_name : str
        Name in our own store, never one that came from outside.
    reason : str or None
        Why it is quarantined.
    """

    field_id: str
    case_id: str
    number: int
    state: FieldState
    sha256: str
    frame: int
    size_bytes: int
    media_type: str
    width: int
    height: int
    stored_name: str
    received_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a file that was accepted.

    Attributes
    ----------
    new : bool
        Whether the field was not known in this case before.
    reopened : bool
        Whether it came late: the case is open again.
    conflict : bool
        Whether its bytes stand under another accession: the case is held.
    """

    case_id: str
    field_id: str
    new: bool
    reopened: bool
    conflict: bool


@dataclass(frozen=True, slots=True)
class QuarantineView:
    """A file that was refused and kept; `case_id` is None where none could be named."""

    quarantine_id: str
    case_id: str | None
    sha256: str | None
    size_bytes: int
    reason: str
    stored_name: str | None
    at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class FieldResult:
    """A field with the findings of its latest analysis."""

    field: FieldView
    analysis_id: int
    bundle: BundleId
    findings: FieldFindings


@dataclass(frozen=True, slots=True)
class ReportView:
    """One version of the result of a case.

    Attributes
    ----------
    counts : CaseCounts
        Nothing was counted where there is no result.
    bundle : BundleId or None
        None where no field was analysed.
    body : str
        Canonical JSON, as it was frozen.
    not_obtained : str or None
        Why there is no result.
    act : ReportAct or None
        Who stands behind it; None for the program's own versions.
    new : bool
        False when the call found the report already there; always False when it was only read.
    """

    report_id: str
    case_id: str
    revision: int
    status: ReportStatus
    counts: CaseCounts
    bundle: BundleId | None
    body: str
    created_at: datetime
    not_obtained: str | None = None
    act: ReportAct | None = None
    new: bool = False

    @property
    def tells_result(self) -> bool:
        """Whether it tells a result: a withdrawn version keeps the numbers that it withdraws, and tells none of them."""
        return self.not_obtained is None and self.status is not ReportStatus.WRONG_PATIENT


@dataclass(frozen=True, slots=True)
class PictureView:
    """A picture that may be served; `picture_id` is random, so that it cannot be guessed."""

    picture_id: str
    case_id: str
    field_id: str
    kind: str
    stored_name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class MessageView:
    """One outbound message; `body` and `ack` hold personal data and are left out of `repr`.

    Attributes
    ----------
    position : int
        Place in the queue; within an order key messages leave by it.
    part : str
        SOP instance UID of the DICOM object whose file `body` names; empty for an HL7 message.
    edition : int
        From 1; a person who corrects a refused message makes the next one.
    supersedes : str or None
        Id of the message that this one was made from.
    attempts : int
        Attempts spent.
    next_attempt_at : datetime or None
        Not before; None where nothing is planned.
    reason : str or None
        Of the last failure, parking or skipping.
    ack_code : str or None
        MSA-1 of the answer.
    ack_seconds : float or None
        How long the attempt took that led to the answer.
    batch : int or None
        Number of the file in which it left together with others.
    """

    message_id: str
    position: int
    case_id: str
    revision: int
    destination: str
    part: str
    edition: int
    supersedes: str | None
    order_key: str
    control_id: str
    body: bytes = field(repr=False)
    sha256: str
    state: MessageState
    attempts: int
    next_attempt_at: datetime | None
    lease_owner: str | None
    lease_expires_at: datetime | None
    reason: str | None
    ack_code: str | None
    ack: bytes | None = field(repr=False)
    ack_seconds: float | None
    batch: int | None
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class OutboxSummary:
    """Counts of messages by state, and since when the oldest that is not done has been waiting."""

    counts: Mapping[MessageState, int]
    oldest_unsent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """How many messages may leave now, and since when the first of them waits."""

    count: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class AckLatency:
    """How long a destination took to answer, in seconds, over its latest answers.

    Attributes
    ----------
    count : int
        Answers that were looked at.
    median, p95, longest : float
    """

    count: int
    median: float
    p95: float
    longest: float


@dataclass(frozen=True, slots=True)
class OutboxMeasures:
    """What is worth watching about one destination.

    Attributes
    ----------
    depth : int
        Messages that will leave by themselves.
    parked : int
        Messages that a person must look at.
    unknown : int
        Of `depth`: sent, without an answer that says what became of them.
    oldest_unsent_at : datetime or None
        Since when the oldest waits, parked ones included.
    latency : AckLatency or None
        None before the first answer.
    """

    destination: str
    depth: int
    parked: int
    unknown: int
    oldest_unsent_at: datetime | None
    latency: AckLatency | None


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the audit chain; keep a copy outside the database to notice a chain that was written anew."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what to which case, when, with what outcome; `detail` is canonical JSON."""

    sequence: int
    at: datetime
    actor: str
    action: str
    case_id: str | None
    detail: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """Whether the audit chain is whole.

    Attributes
    ----------
    events : int
        Events that were read.
    head : AuditHead
        The end that was found.
    problems : tuple of str
        What is wrong, each with the number of its event; the first 100.
    """

    events: int
    head: AuditHead
    problems: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
