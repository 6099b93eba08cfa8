"""What leaves a transaction about people's acts: frozen values, never rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from db.people import Actor
from db.release_moves import Act
from sphero_core.types import CellClass


@dataclass(frozen=True, slots=True)
class GradeChange:
    """A grade that a person gave in place of the machine's.

    Attributes
    ----------
    grade : str
        Of the same scheme.
    machine_grade : str
    reason : str
        In the person's words.
    """

    grade: str
    machine_grade: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReportAct:
    """Who stands behind a version of a result.

    Attributes
    ----------
    act : Act
        Sign, reject or withdraw.
    comment : str
        With a rejection or withdrawal, why. Hidden from the `repr`: a person's words may be personal data.
    grade : GradeChange or None
    """

    act: Act
    actor: Actor
    at: datetime
    comment: str = field(default="", repr=False)
    grade: GradeChange | None = None


@dataclass(frozen=True, slots=True)
class CellReview:
    """A class that a person gave a cell.

    Attributes
    ----------
    field, cell : int
        Numbers from 1: the field within its case, the cell within its field.
    machine_class : CellClass
        The model's call, which stays.
    before, cell_class : CellClass
        What counted before, and what counts now.
    changed : bool
        False where it counted as that already; then nothing was recorded.
    """

    field: int
    cell: int
    machine_class: CellClass
    before: CellClass
    cell_class: CellClass
    login: str
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """What a person looked at: the analyses and the reviews of a case, to notice that something came since.

    Attributes
    ----------
    revision : int
    analyses : tuple of int
    last_review : int
        0 without any.
    """

    revision: int
    analyses: tuple[int, ...]
    last_review: int


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report for people in our store."""

    report_id: str
    kind: str
    sha256: str
    size_bytes: int
    stored_name: str
