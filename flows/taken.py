"""What became of what came in one look."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the ready files of one folder.

    Attributes
    ----------
    case_id : str or None
        None where no case can be named.
    fields : int
        Fields that are new.
    known : int
        Files that were there before.
    refused : tuple of str
        Why files went into quarantine.
    later : int
        Files that cannot be taken now; the next look tells.
    """

    case_id: str | None = None
    fields: int = 0
    known: int = 0
    refused: tuple[str, ...] = ()
    later: int = 0


@dataclass(slots=True)
class Pile:
    """`Taken` while it is added up."""

    case_id: str | None = None
    fields: int = 0
    known: int = 0
    refused: list[str] = field(default_factory=list)
    later: int = 0

    def add(self, taken: Taken) -> None:
        """Add what became of one file."""
        self.case_id = taken.case_id or self.case_id
        self.fields += taken.fields
        self.known += taken.known
        self.refused += taken.refused
        self.later += taken.later

    def taken(self) -> Taken:
        """As it stands."""
        return Taken(self.case_id, self.fields, self.known, tuple(self.refused), self.later)
