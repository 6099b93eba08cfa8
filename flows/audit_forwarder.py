"""Tells the audit repository of every event, in order: DICOM audit messages over syslog with TLS.

The cursor moves after the receiver took a batch. A crash in between sends that batch again, under the same sequence
numbers: nothing is left out, and what is doubled is known as such.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict

from db.errors import DatabaseError
from db.session import Database
from db.views import AuditEvent
from flows.audit_settings import AuditSyslogSettings
from flows.log import tell
from flows.settings import Settings
from integrations.audit.message import AuditRecord, AuditSource, build_audit_message
from integrations.audit.syslog import SyslogTls, syslog_message
from integrations.errors import AuditNotTaken, TlsError
from integrations.tls import ClientTls, TlsFiles

log = logging.getLogger(__name__)

RECEIVER = "syslog"
ACTOR = "audit forwarder"
BATCH = 500
STOP_SECONDS = 5.0
LONGEST_WAIT = 300.0


def audit_source(settings: Settings) -> AuditSource:
    """Who reports: this program on this machine."""
    host = socket.gethostname()
    return AuditSource(settings.audit.syslog.source_id or f"spheroflow@{host}", settings.site.name, host)


def as_message(event: AuditEvent, source: AuditSource) -> bytes:
    """An event as a DICOM audit message."""
    return build_audit_message(AuditRecord(**asdict(event)), source)


def events_after(database: Database, sequence: int) -> Iterator[AuditEvent]:
    """Give every committed event after one, in order, in transactions of their own."""
    while True:
        with database.reading() as work:
            batch = work.audit.list(after=sequence, limit=BATCH)
        if not batch:
            return
        yield from batch
        sequence = batch[-1].sequence


def make_syslog(section: AuditSyslogSettings) -> SyslogTls:
    """The way to the repository; nothing is opened yet.

    Raises
    ------
    TlsError
        A certificate file cannot be used.
    """
    files = TlsFiles(section.ca_file, section.cert_file, section.key_file, section.key_password_file)
    files.client_context()
    return SyslogTls(section.host, section.port, ClientTls(files, section.server_name or section.host))


class AuditForwarder:
    """A thread that tells the repository; with the settings' `enabled` off it does nothing.

    Parameters
    ----------
    settings : Settings
    database : Database
    tells : callable
        Whether it is this machine that does so.
    """

    def __init__(self, settings: Settings, database: Database, tells: Callable[[], bool] = lambda: True) -> None:
        self._tells = tells
        self._database = database
        self._section = settings.audit.syslog
        self._source = audit_source(settings)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit forwarder", daemon=True)
        self.problem: str | None = None

    def start(self) -> None:
        """Begin, if it is to."""
        if self._section.enabled:
            self._thread.start()

    def stop(self) -> None:
        """End; what was not told is told after the next start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def forward(self, way: SyslogTls) -> int:
        """Tell what was not told yet, a batch at most; return how many events that were.

        Raises
        ------
        AuditNotTaken, DatabaseError
        """
        with self._database.reading() as work:
            told = work.audit_cursors.get(RECEIVER)
            events = work.audit.list(after=told.sequence, limit=BATCH)
            standing = work.audit.hash_of(told.sequence)
        if told.sequence and standing != told.hash:
            log.error(
                "event %d of the audit log is not the one that was told; see `sphero audit verify`", told.sequence
            )
        if not events:
            return 0
        way.send([self._framed(event) for event in events])
        with self._database.transaction(ACTOR) as work:
            work.audit_cursors.move(RECEIVER, events[-1])
        return len(events)

    def _framed(self, event: AuditEvent) -> bytes:
        return syslog_message(
            as_message(event, self._source),
            at=event.at,
            host=self._source.host,
            application="spheroflow",
            process=os.getpid(),
            sequence=event.sequence,
        )

    def _run(self) -> None:
        wait = self._section.forward_seconds
        while not self._stopping.wait(wait):
            wait = self._section.forward_seconds
            if not self._tells():
                continue
            try:
                way = make_syslog(self._section)
                while not self._stopping.is_set() and self._tells() and self.forward(way) == BATCH:
                    pass
                self._say(None)
            except (AuditNotTaken, TlsError, DatabaseError) as error:
                self._say(tell(error))
                wait = min(LONGEST_WAIT, wait * 2)

    def _say(self, problem: str | None) -> None:
        if problem != self.problem:
            if problem:
                log.warning("audit events wait for the repository: %s", problem)
            else:
                log.info("the audit repository takes events again")
        self.problem = problem
