"""Sees to it that what waits for a destination leaves: asks for a run of `deliver`, and delivers itself if none comes.

The case's own run delivers when the destination answers. What could not leave then, or is due for another attempt, is
noticed here. Whether the destination answers is tried first, so that a night without it leaves no runs behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from db.errors import DatabaseError
from flows.deliver import Sender
from flows.log import tell

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 20.0  # so long a run may need to begin; Prefect may be away


class Courier:
    """One thread a destination.

    Parameters
    ----------
    senders : iterable of Sender
    ask : callable
        Asks for a run that delivers to the destination named.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, senders: Iterable[Sender], ask: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(sender,), name=f"courier {sender.name}", daemon=True)
            for sender in senders
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """End; a thread that waits for an answer is left behind."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)

    def _run(self, sender: Sender) -> None:
        asked: float | None = None
        problem = ""
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                asked = self._look(sender, asked)
                problem = ""
            except DatabaseError as error:
                if tell(error) != problem:
                    problem = tell(error)
                    log.warning("what waits for %s cannot be looked at: %s", sender.name, problem)

    def _look(self, sender: Sender, asked: float | None) -> float | None:
        """Do what is to be done now; gives since when a run was asked for in vain."""
        if not sender.is_permitted:
            sender.close()  # another machine delivers: many receivers take one connection only
            return None
        if sender.is_expecting or sender.is_busy or not sender.is_due() or not sender.reachable():
            return None
        if asked is None:
            self._ask(sender.name)
            return self._clock()
        if self._clock() - asked < PATIENCE_SECONDS:
            return asked
        log.info("no run delivers to %s; it is done without one", sender.name)
        sender.drain()
        return None
