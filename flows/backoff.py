"""How long to wait before something is tried again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next attempt: doubled each time, up to a limit, with jitter.

    Attributes
    ----------
    first, longest : float
        Seconds.
    """

    first: float = 2.0
    longest: float = 30.0

    def seconds(self, failures: int, jitter: float) -> float:
        """Wait after so many failures in a row; `jitter` is a random number from 0 to 1."""
        return min(self.longest, self.first * 2.0 ** min(max(failures - 1, 0), 16)) * (0.5 + 0.5 * jitter)
