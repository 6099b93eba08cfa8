"""Those whom alerts reach: a web server that keeps what is posted to it, and a mail server that keeps what is sent."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import socketserver
import ssl
import threading
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class _Served:
    """A server of the standard library in a thread."""

    def __init__(self, server: socketserver.TCPServer) -> None:
        self._server = server
        self.port = int(server.socket.getsockname()[1])
        self._thread = threading.Thread(target=lambda: server.serve_forever(0.05), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)


class WebhookReceiver(_Served):
    """Keeps the JSON that is posted, whatever the path."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                received.append(json.loads(body))

            def log_message(self, *arguments: object) -> None:
                pass

        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), Handler))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"


class MailSink(_Served):
    """As much of SMTP (RFC 5321) and AUTH PLAIN (RFC 4954, 4616) as a client needs; keeps each mail and each login.

    Parameters
    ----------
    tls : SSLContext or None
        Under which it speaks from the first byte on; None: in the clear.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[EmailMessage] = []
        self.logins: list[str] = []
        received, logins = self.received, self.logins

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 sink")
                while line := self.rfile.readline().decode().strip():
                    verb, *words = line.split()
                    if verb.upper() == "DATA":
                        self._say("354 go on")
                        received.append(email.message_from_bytes(self._mail(), policy=email.policy.default))
                    if verb.upper() == "AUTH":
                        logins.append(base64.b64decode(words[-1]).decode())
                    self._say(
                        {"QUIT": "221 bye", "AUTH": "235 ok", "EHLO": "250-sink\r\n250 AUTH PLAIN"}.get(
                            verb.upper(), "250 ok"
                        )
                    )
                    if verb.upper() == "QUIT":
                        return

            def _say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

            def _mail(self) -> bytes:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line[1:] if line.startswith(b"..") else line)
                return b"".join(lines)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        super().__init__(server)
