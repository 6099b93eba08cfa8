"""An audit repository for tests: takes syslog over TLS as RFC 5425 has it, and judges each message by the schema of PS3.15.

The grammar is the one of PS3.15 A.5.1.1, written here in the XML syntax of RELAX NG, which lxml validates.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from lxml import etree

from integrations.tls import TlsFiles


def _attribute(name: str, kind: str = "token", *, optional: bool = False) -> str:
    inner = f"<data type='{kind}'/>" if kind != "text" else "<text/>"
    found = f"<attribute name='{name}'>{inner}</attribute>"
    return f"<optional>{found}</optional>" if optional else found


def _one_of(name: str, values: str, *, optional: bool = True) -> str:
    choices = "".join(f"<value>{value}</value>" for value in values.split())
    found = f"<attribute name='{name}'><choice>{choices}</choice></attribute>"
    return f"<optional>{found}</optional>" if optional else found


def _coded(name: str) -> str:
    return f"<element name='{name}'><ref name='coded'/></element>"


CODED = (
    _attribute("csd-code")
    + _attribute("codeSystemName")
    + _attribute("displayName", optional=True)
    + _attribute("originalText")
)
OTHER = _attribute("codeSystemName") + _attribute("displayName", optional=True) + _attribute("originalText")
NUMBERS = " ".join(str(number) for number in range(1, 27))
GRAMMAR = f"""
<grammar xmlns='http://relaxng.org/ns/structure/1.0' datatypeLibrary='http://www.w3.org/2001/XMLSchema-datatypes'>
  <start><element name='AuditMessage'>
    <element name='EventIdentification'>
      {_one_of("EventActionCode", "C R U D E")}{_attribute("EventDateTime", "dateTime")}
      {_one_of("EventOutcomeIndicator", "0 4 8 12", optional=False)}
      {_coded("EventID")}<zeroOrMore>{_coded("EventTypeCode")}</zeroOrMore>
      <optional><element name='EventOutcomeDescription'><text/></element></optional>
    </element>
    <oneOrMore><element name='ActiveParticipant'>
      {_attribute("UserID", "text")}{_attribute("AlternativeUserID", "text", optional=True)}
      {_attribute("UserName", "text", optional=True)}{_attribute("UserIsRequestor", "boolean")}
      {_attribute("NetworkAccessPointID", optional=True)}{_one_of("NetworkAccessPointTypeCode", "1 2 3 4 5")}
      <zeroOrMore>{_coded("RoleIDCode")}</zeroOrMore>
      <optional><element name='MediaIdentifier'>{_coded("MediaType")}</element></optional>
    </element></oneOrMore>
    <element name='AuditSourceIdentification'>
      {_attribute("AuditEnterpriseSiteID", optional=True)}{_attribute("AuditSourceID")}
      <zeroOrMore><element name='AuditSourceTypeCode'>
        {_attribute("csd-code")}<optional>{OTHER}</optional>
      </element></zeroOrMore>
    </element>
    <zeroOrMore><element name='ParticipantObjectIdentification'>
      {_attribute("ParticipantObjectID")}{_one_of("ParticipantObjectTypeCode", "1 2 3 4")}
      {_one_of("ParticipantObjectTypeCodeRole", NUMBERS)}
      {_one_of("ParticipantObjectDataLifeCycle", " ".join(NUMBERS.split()[:15]))}
      {_attribute("ParticipantObjectSensitivity", optional=True)}
      {_coded("ParticipantObjectIDTypeCode")}
      <choice>
        <element name='ParticipantObjectName'><data type='token'/></element>
        <element name='ParticipantObjectQuery'><data type='base64Binary'/></element>
      </choice>
      <zeroOrMore><element name='ParticipantObjectDetail'>
        {_attribute("type")}{_attribute("value", "base64Binary")}
      </element></zeroOrMore>
    </element></zeroOrMore>
  </element></start>
  <define name='coded'>{CODED}</define>
</grammar>
"""
SCHEMA = etree.RelaxNG(etree.fromstring(GRAMMAR))
HEADER = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
    rb'\[meta sequenceId="(\d{1,10})"\] \xef\xbb\xbf(.*)',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Received:
    """One syslog message as it was taken apart."""

    priority: int
    message_id: str
    sequence: int
    body: bytes


def judge(body: bytes) -> list[str]:
    """What the schema of PS3.15 has against a message; nothing where it is valid."""
    tree = etree.fromstring(body)
    return [] if SCHEMA.validate(tree) else [str(error) for error in SCHEMA.error_log]


def take_apart(frame: bytes) -> Received:
    found = HEADER.fullmatch(frame)
    assert found, frame[:200]
    return Received(int(found[1]), found[6].decode(), int(found[7]), found[8])


@dataclass(slots=True)
class Faults:
    """What the repository does wrong, once each: breaks off after so many messages."""

    break_after: int | None = None


@dataclass
class AuditRepository:
    """Listens on a port of its own; the context ends it."""

    files: TlsFiles
    faults: Faults = field(default_factory=Faults)
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._context = self.files.server_context()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self._take(secured)
            except (OSError, ssl.SSLError):
                connection.close()

    def _take(self, connection: ssl.SSLSocket) -> None:
        waiting, taken = b"", 0
        while True:
            length, blank, rest = waiting.partition(b" ")
            if blank and len(rest) >= int(length):
                self.received.append(take_apart(rest[: int(length)]))
                waiting, taken = rest[int(length) :], taken + 1
                if self.faults.break_after == taken:
                    self.faults.break_after = None
                    # A receiver that dies: its system resets the connection, with what was not read.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    socket.socket(fileno=connection.detach()).close()
                    return
                continue
            more = connection.recv(65536)
            if not more:
                connection.unwrap()
                return
            waiting += more
