"""The listener for orders as a part of the service."""

from __future__ import annotations

import logging
from collections.abc import Callable

from db.session import Database
from flows.errors import PortTaken
from flows.settings import Settings
from flows.wiring import make_listener, make_order_desk

log = logging.getLogger(__name__)

STOP_SECONDS = 3.0


class OrderListener:
    """Takes orders while the service runs, if the settings say so.

    Parameters
    ----------
    settings : Settings
    database : Database
    released : callable
        Called when cases may go on; from any thread.
    """

    def __init__(self, settings: Settings, database: Database, released: Callable[[], None]) -> None:
        self._settings = settings.hl7.listener
        self._desk = make_order_desk(settings, database, released)
        self._listener = make_listener(self._settings, self._desk.handle) if self._settings.enabled else None

    @property
    def enabled(self) -> bool:
        """Whether it is to listen."""
        return self._listener is not None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def problem(self) -> str | None:
        """What is wrong with it."""
        return None if self._listener is None or self._listener.is_listening else "does not listen"

    def start(self) -> None:
        """Record what an earlier life of the service had kept and not recorded, then listen.

        Raises
        ------
        PortTaken, DatabaseError
        """
        if self._listener is None:
            return
        if left := self._desk.recover():
            log.info("received messages that were not recorded yet are taken up: %d", left)
        try:
            self._listener.start()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PortTaken(f"{self.address} cannot be listened on ({reason}); see [hl7.listener] host, port") from None

    def stop(self) -> None:
        """Take no more; a message in hand is still answered."""
        if self._listener is not None:
            self._listener.stop(STOP_SECONDS)
