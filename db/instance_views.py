"""Accepted DICOM instances as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from db.states import InstanceState


class InstanceOutcome(StrEnum):
    """What became of an instance that came."""

    NEW = "new"
    REPEATED = "repeated"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One accepted instance.

    Attributes
    ----------
    position : int
        Counts up in the order they came.
    study_uid, series_uid : str or None
        None until it is read, unless its sender told them.
    sha256, size_bytes : str, int
        Of the Part 10 file in our store.
    stored_name : str
        Relative to the store.
    source : str
        Name of what brought it: the receiver, a store, the folder.
    calling_ae : str or None
        AE title of the sender of a C-STORE.
    reason : str or None
        Why it was refused; never contents.
    case_id : str or None
        The case its fields joined.
    """

    instance_id: str
    position: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_uid: str | None
    series_uid: str | None
    sha256: str
    size_bytes: int
    stored_name: str
    source: str
    calling_ae: str | None
    state: InstanceState
    reason: str | None
    case_id: str | None
    received_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """What became of an instance that came.

    Attributes
    ----------
    outcome : InstanceOutcome
    instance : InstanceView
        The row of these bytes; of a conflict, that of the bytes that came later.
    """

    outcome: InstanceOutcome
    instance: InstanceView
