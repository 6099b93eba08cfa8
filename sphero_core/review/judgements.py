"""What a judge may say, and the files it is written into.

reading-1.csv   tile,judgement      one line a tile
fields-1.csv    field,whole,cut     red cells of a whole field without a dot: whole ones, and those that its edge cuts
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sphero_core.errors import DatasetError


class Judgement(StrEnum):
    """What stands in the corners of a tile; `LETTERS` has the short forms."""

    RED = "red"
    EDGE = "edge"
    SPHEROCYTE = "spherocyte"
    EDGE_SPHEROCYTE = "edge-spherocyte"
    DENSE = "dense"
    PLATELET = "platelet"
    WHITE = "white"
    OTHER = "other"
    PART = "part"
    NOTHING = "nothing"


#: What each is said of, and its short form.
MEANINGS: Mapping[Judgement, tuple[str, str]] = {
    Judgement.RED: ("r", "a whole red cell, neither of the two below"),
    Judgement.EDGE: ("e", "a red cell that the field's edge cuts"),
    Judgement.SPHEROCYTE: ("s", "a whole spherocyte: round, no central pallor, smaller and denser than its neighbours"),
    Judgement.EDGE_SPHEROCYTE: ("t", "a spherocyte that the field's edge cuts"),
    Judgement.DENSE: (
        "d",
        "a whole dense red cell that is not round or not smooth: contracted, burr, teardrop, overlap",
    ),
    Judgement.PLATELET: ("p", "a platelet"),
    Judgement.WHITE: ("w", "a white cell or a part of one"),
    Judgement.OTHER: ("o", "debris, stain, a ghost, a pointer"),
    Judgement.PART: ("x", "the corners fit no single cell: only a part of one, or several together"),
    Judgement.NOTHING: ("n", "nothing"),
}
LETTERS: Mapping[str, Judgement] = {letter: judgement for judgement, (letter, _) in MEANINGS.items()}
#: A red cell, of whatever kind.
RED_CELLS = frozenset({Judgement.RED, Judgement.EDGE, Judgement.SPHEROCYTE, Judgement.EDGE_SPHEROCYTE, Judgement.DENSE})
#: A red cell that the edge does not cut.
WHOLE = frozenset({Judgement.RED, Judgement.SPHEROCYTE, Judgement.DENSE})
SPHEROCYTES = frozenset({Judgement.SPHEROCYTE, Judgement.EDGE_SPHEROCYTE})


@dataclass(frozen=True, slots=True)
class Undotted:
    """Red cells of one whole field that had no dot."""

    whole: int
    cut: int


def write_empty(folder: Path, reading: int, tiles: int, fields: int) -> None:
    """Write the files that a reading is to fill."""
    for name, head, lines in (
        (f"reading-{reading}.csv", "tile,judgement", [f"{n}," for n in range(1, tiles + 1)]),
        (f"fields-{reading}.csv", "field,whole,cut", [f"{n},," for n in range(1, fields + 1)]),
    ):
        (folder / name).write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def read_judgements(path: Path, tiles: int) -> tuple[Judgement, ...]:
    """The judgements of one reading, by tile.

    Raises
    ------
    DatasetError
        A tile has no judgement or two, or a word is not known.
    """
    said: dict[int, Judgement] = {}
    for number, row in _rows(path, ("tile", "judgement"), tiles):
        word = (row["judgement"] or "").strip().casefold()
        if word not in LETTERS and word not in set(Judgement):
            known = ", ".join(f"{letter} {judgement}" for letter, judgement in LETTERS.items())
            raise DatasetError(f"{path.name}: tile {number} says {word!r}; known are {known}")
        said[number] = LETTERS.get(word) or Judgement(word)
    return tuple(said[number] for number in range(1, tiles + 1))


def read_undotted(path: Path, fields: int) -> tuple[Undotted, ...]:
    """The red cells without a dot, by field picture. Raises as `read_judgements`."""
    said: dict[int, Undotted] = {}
    for number, row in _rows(path, ("field", "whole", "cut"), fields):
        try:
            said[number] = Undotted(int(row["whole"]), int(row["cut"]))
        except (TypeError, ValueError):
            raise DatasetError(
                f"{path.name}: field {number} needs two whole numbers, of whole and of cut cells"
            ) from None
    return tuple(said[number] for number in range(1, fields + 1))


def _rows(path: Path, head: Sequence[str], count: int) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path.name} cannot be read ({type(error).__name__}); is this the folder of the review?"
        ) from error
    if any(set(row) != set(head) for row in rows):
        raise DatasetError(f"{path.name} must have the columns {', '.join(head)} and no other")
    numbers = [row[head[0]].strip() for row in rows]
    wanted = [str(number) for number in range(1, count + 1)]
    if sorted(numbers) != sorted(wanted):
        odd = sorted(set(numbers) ^ set(wanted)) or sorted({n for n in numbers if numbers.count(n) > 1})
        raise DatasetError(f"{path.name} must have one line for each of 1 to {count}; look at {', '.join(odd[:5])}")
    return [(int(number), row) for number, row in zip(numbers, rows, strict=True)]
