"""What people see while they wait; on standard error, and only where that is a screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(frozen=True, slots=True)
class Shown:
    """A bar that is shown."""

    progress: Progress
    task: TaskID

    def say(self, what: str) -> None:
        """Say what is being done."""
        self.progress.update(self.task, description=what)

    def advance(self) -> None:
        """One more is done."""
        self.progress.advance(self.task)


@contextmanager
def shown(what: str, total: int | None) -> Iterator[Shown]:
    """Show a bar as long as the block lasts.

    Parameters
    ----------
    what : str
        What is being done.
    total : int or None
        Of how many; None where that is not known.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    counted = (BarColumn(), MofNCompleteColumn()) if total is not None else ()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *counted, TimeElapsedColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Shown(progress, progress.add_task(what, total=total))
