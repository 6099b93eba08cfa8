"""From a percentage to a grade by a named scheme, and whether spherocytes are reported as detected.

Schools differ in their cut-offs, so the scheme belongs to the site and its name goes into each report. A percentage on a cut-off has the upper grade.
A grade says how many spherocytes there are, never why: they are seen in hereditary spherocytosis as in autoimmune haemolysis, after transfusion
reactions and burns, and at the thin end of any film.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sphero_core.types import Grading

NO_GRADE = "0"
GRADES = (NO_GRADE, "1+", "2+", "3+", "4+")


@dataclass(frozen=True, slots=True)
class GradingScheme:
    """A named scheme.

    Attributes
    ----------
    name : str
    cut_offs : tuple of (str, float)
        Each grade above 0 with the percentage from which it holds, both rising. A scheme may leave grades out.

    Raises
    ------
    ValueError
        For unknown grades, or cut-offs that do not rise between 0 and 100.
    """

    name: str
    cut_offs: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        grades = [grade for grade, _ in self.cut_offs]
        levels = [level for _, level in self.cut_offs]
        if not grades or any(grade not in GRADES[1:] for grade in grades):
            raise ValueError(f"a scheme needs cut-offs for some of the grades {', '.join(GRADES[1:])}")
        if sorted(set(grades)) != grades or any(a >= b for a, b in zip([0.0, *levels], [*levels, 100.0], strict=True)):
            raise ValueError("the cut-offs must rise from grade to grade, above 0 and below 100 percent")

    def grade_of(self, percent: float) -> str:
        """The grade of a percentage, 0 to 100; on a cut-off, the upper one."""
        return next((grade for grade, level in reversed(self.cut_offs) if percent >= level), NO_GRADE)

    def between(self, low: float, high: float) -> tuple[str, ...]:
        """The grades from one percentage to another, lowest first."""
        order = (NO_GRADE, *(grade for grade, _ in self.cut_offs))
        return order[order.index(self.grade_of(low)) : order.index(self.grade_of(high)) + 1]


DAVIS = GradingScheme("davis", (("1+", 2.0), ("2+", 10.0), ("3+", 20.0), ("4+", 50.0)))
ICSH_2015 = GradingScheme("icsh-2015", (("2+", 5.0), ("3+", 20.0)))
SCHEMES: Mapping[str, GradingScheme] = MappingProxyType({scheme.name: scheme for scheme in (DAVIS, ICSH_2015)})
"""Those that are shipped. ``icsh-2015`` knows no 1+ (Palmer et al., Int. J. Lab. Hematol. 2015, 37:287-303)."""


@dataclass(frozen=True, slots=True)
class GradingRule:
    """What a case is graded by.

    Attributes
    ----------
    scheme : GradingScheme
    false_call_percent : float or None
        Share of the red cells that the model calls spherocytes on smears without any, in percent; of its bundle. None where it was not measured:
        then nothing is ever reported as detected.
    """

    scheme: GradingScheme = DAVIS
    false_call_percent: float | None = None


DEFAULT_RULE = GradingRule()


def grade_share(percent: float, interval: tuple[float, float], rule: GradingRule = DEFAULT_RULE) -> Grading:
    """Grade a case's percentage of spherocytes.

    Parameters
    ----------
    percent : float
        0 to 100.
    interval : tuple of float
        Its 95 % interval, in percent.
    rule : GradingRule

    Returns
    -------
    Grading
        Detected only if the grade is at least the lowest of the scheme and the interval lies above the model's false calls.
    """
    grade = rule.scheme.grade_of(percent)
    detected, reason = _detected(grade, interval[0], rule)
    return Grading(
        grade=grade,
        scheme=rule.scheme.name,
        possible=rule.scheme.between(*interval),
        detected=detected,
        false_call_percent=rule.false_call_percent,
        reason=reason,
    )


def straddling(grading: Grading) -> str | None:
    """Say in words that the interval reaches several grades; None where it does not."""
    if len(grading.possible) < 2:
        return None
    low, high = grading.possible[0], grading.possible[-1]
    return f"The 95 % interval straddles a cut-off of the scheme {grading.scheme}: the grade may be {low} to {high}."


def _detected(grade: str, lower: float, rule: GradingRule) -> tuple[bool, str]:
    """Whether spherocytes are detected, and why or why not; plain ASCII, since it travels in messages."""
    false_calls = rule.false_call_percent
    if grade == NO_GRADE:
        return False, f"Not detected: the percentage is below {rule.scheme.cut_offs[0][1]:g} %, the lowest cut-off."
    if false_calls is None:
        return False, (
            "Not detected: how often the model calls red cells spherocytes on smears without any was not measured,"
            " and without that figure nothing is reported as detected."
        )
    told = f"{false_calls:.2g} % that the model calls spherocytes on smears without any"
    if lower > false_calls:
        return True, f"Detected: the interval begins at {lower:.1f} %, above the {told}."
    return False, f"Not detected: the interval begins at {lower:.1f} %, not above the {told}."
