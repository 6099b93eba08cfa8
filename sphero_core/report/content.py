"""What a report for people says, as values: the layouts add nothing to it and leave nothing out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sphero_core.case_facts import case_facts
from sphero_core.types import CaseCounts

TITLE = "Red cell morphology: spherocytes"
#: Probabilities from and up to which the model is not sure; some hundredths either way are chance.
DOUBTFUL = (0.2, 0.8)
SUREST = "Spherocytes of which the model is surest"
UNSURE = f"Red cells of which the model is not sure ({DOUBTFUL[0]} to {DOUBTFUL[1]})"
LEGEND = (
    "Sorted by the model's probability in steps of a tenth, within a step the roundest first. Under each cell: field and number, the model's"
    " probability that it is a spherocyte, and what it counts as."
    " Dashed outlines in the fields: cut by the edge, not counted."
)
DECISION_SUPPORT = (
    "Decision support: spherocytes are seen in hereditary spherocytosis as in autoimmune haemolysis, after transfusion reactions and"
    " burns, and at the thin end of any film. This report counts cells and names no disease. Correlate with DAT, reticulocytes, MCHC,"
    " EMA binding and family history."
)


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture with its caption.

    Attributes
    ----------
    jpeg : bytes
    label : str
        Such as ``3.17``: field and cell.
    caption : str
    """

    jpeg: bytes = field(repr=False)
    label: str
    caption: str


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version of the result in the history."""

    version: str
    status: str
    made: str
    by: str
    finding: str


@dataclass(frozen=True, slots=True)
class ReportContent:
    """One version of the result of one case; personal data, hidden from the `repr`.

    Attributes
    ----------
    laboratory : str
        Name of the site.
    status : str
        In words, such as ``Preliminary``.
    verified : bool
        Whether a person stands behind it; else each page says that it does not.
    withdrawn : bool
        Whether the result turned out to be another patient's; there are no counts then.
    version, made : str
        Number of the version, and when it was made, with its zone.
    identifiers : tuple of (str, str)
        What names patient, specimen and order: a label and its value each.
    counts : CaseCounts or None
        None where there is no result.
    grade : str
        The grade that is reported; empty without one.
    grade_note : str
        Where a person changed the grade: from what, and why.
    cut_offs : tuple of (str, float)
        Grades of the scheme with the percentage from which they hold.
    reviewer, comment : str
    not_obtained : str
        Why there is no result.
    certain, doubtful : tuple of ShownPicture
        Spherocytes the model is surest of; red cells it is not sure of, the most doubtful first.
    overlays : tuple of ShownPicture
    omitted_overlays : int
        Fields that are not pictured.
    relabelled : int
        Cells to which a person gave another class than the model.
    quality : tuple of str
        What was refused, and why.
    model : tuple of (str, str)
        Bundle, its hash, the program.
    versions : tuple of VersionLine
        The history, this version included.
    """

    laboratory: str
    status: str
    verified: bool
    version: str
    made: str
    identifiers: tuple[tuple[str, str], ...] = field(repr=False)
    counts: CaseCounts | None
    withdrawn: bool = False
    grade: str = ""
    grade_note: str = field(default="", repr=False)
    cut_offs: tuple[tuple[str, float], ...] = ()
    reviewer: str = ""
    comment: str = field(default="", repr=False)
    not_obtained: str = ""
    certain: tuple[ShownPicture, ...] = ()
    doubtful: tuple[ShownPicture, ...] = ()
    overlays: tuple[ShownPicture, ...] = ()
    omitted_overlays: int = 0
    relabelled: int = 0
    quality: tuple[str, ...] = ()
    model: tuple[tuple[str, str], ...] = ()
    versions: tuple[VersionLine, ...] = ()

    @property
    def banner(self) -> str:
        """What stands on each page about who is behind it, or that it does not hold; empty where a person stands behind a result."""
        if self.withdrawn:
            return self.status.upper()
        return "" if self.verified else f"{self.status.upper()} - NOT VERIFIED BY A PERSON"

    @property
    def running(self) -> str:
        """Who it is about, for the foot of each page."""
        known = dict(self.identifiers)
        named = (known.get("Patient"), known.get("Patient identifier"), known.get("Accession number"))
        return "  ".join(part for part in named if part)

    @property
    def finding(self) -> str:
        """The finding in one line."""
        if self.withdrawn:
            return "Withdrawn: not a result of this patient"
        if self.counts is None:
            return "No result"
        return finding_line(self.counts, self.grade)

    @property
    def figures(self) -> tuple[tuple[str, str], ...]:
        """The numbers behind the finding."""
        counts = self.counts
        if counts is None:
            return ()
        rows = [
            ("Spherocytes / red cells", f"{counts.spherocytes} / {counts.red_cells}"),
            ("Fields counted", str(counts.fields)),
        ]
        if counts.ci95 is not None:
            rows.insert(1, ("95 % interval", f"{counts.ci95[0]:.1f} to {counts.ci95[1]:.1f} %"))
        if counts.grading is not None:
            rows.append(("Grade", f"{self.grade} by the scheme {counts.grading.scheme}"))
        rows += case_facts(counts)
        if self.relabelled:
            rows.append(("Class changed by a person", f"{self.relabelled} of all cells found"))
        return tuple(rows)

    @property
    def detection(self) -> str:
        """Whether spherocytes are reported as detected, and why; empty where a person set the grade, or there is none."""
        if self.counts is None or self.counts.grading is None or self.grade_note:
            return ""
        return self.counts.grading.reason

    @property
    def remarks(self) -> Sequence[str]:
        """What limits the numbers."""
        return self.counts.limitations if self.counts is not None else ()


def finding_line(counts: CaseCounts, grade: str) -> str:
    """Percentage and grade in one line."""
    if counts.spherocyte_percent is None:
        return "No red cell was counted"
    graded = f", grade {grade}" if grade else ""
    return f"Spherocytes {counts.spherocyte_percent:.1f} % of red cells{graded}"
