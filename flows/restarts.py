"""When a part of the service that ended may be begun anew."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_BACKOFF = 30.0


@dataclass(slots=True)
class Restarts:
    """Of one part.

    Attributes
    ----------
    failures : int
        Since it last worked.
    count : int
        In all.
    not_before : float
        Monotonic seconds.
    """

    failures: int = 0
    count: int = 0
    not_before: float = 0.0

    def failed(self, now: float) -> None:
        """Note that it ended and is begun anew at `now`: the next time after twice as long."""
        self.failures += 1
        self.count += 1
        self.not_before = now + min(2.0 ** (self.failures - 1), LONGEST_BACKOFF)
