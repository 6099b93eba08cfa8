"""DICOM objects that we made, and their commitments, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.states import CommitmentState


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object whose file is safe in our store.

    Attributes
    ----------
    kind : str
        ``image``, ``seg``, ``ann``, ``sr``, or ``ko``: a note that others are no longer valid.
    field_id : str or None
        The field that it tells of; None for what tells of the case.
    stored_name : str
        Relative to the folder of objects.
    replaces : str or None
        SOP instance UID of the object of an earlier version that it takes the place of.
    """

    sop_instance_uid: str
    kind: str
    field_id: str | None
    sop_class_uid: str
    series_uid: str
    study_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    stored_name: str
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectView:
    """An object that was recorded; see `NewObject`."""

    made: NewObject
    case_id: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SourceInstance:
    """The DICOM instance that a field came in.

    Attributes
    ----------
    frames : int
        Fields that came in it.
    study_date, study_time, study_id, frame_of_reference_uid : str
        As it tells them; empty where it does not.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    sha256: str
    frames: int
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class CommitmentView:
    """What an archive said about keeping one object.

    Attributes
    ----------
    requests : int
        How often it was asked since the object was last delivered.
    reason : str or None
        Why it does not keep it, or why it has to be asked again.
    """

    message_id: str
    destination: str
    sop_class_uid: str
    sop_instance_uid: str
    state: CommitmentState
    transaction_uid: str | None
    requests: int
    reason: str | None
    settled_at: datetime | None
