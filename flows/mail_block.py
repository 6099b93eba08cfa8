"""The block by which Prefect's automations send mail over SMTP; Prefect itself brings none.

It works in the server's process: the embedded server imports this module (`flows.prefect_server`); a server elsewhere finds
it by the entry point ``prefect.collections`` where this package is installed beside it.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from prefect.blocks.abstract import NotificationBlock
from pydantic import Field, SecretStr

CONNECT_SECONDS = 20.0


class SmtpMail(NotificationBlock):
    """Sends a notification as mail."""

    _block_type_name = "Spheroflow mail"
    _block_type_slug = "spheroflow-mail"

    host: str = Field(description="Of the mail server.")
    port: int = 25
    security: Literal["none", "starttls", "tls"] = "none"
    ca_file: str = Field(default="", description="Who signs the server's certificate; empty: the system's authorities.")
    user: str = ""
    password: SecretStr = SecretStr("")
    sender: str
    recipients: list[str]

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send one mail to all recipients.

        Raises
        ------
        OSError, smtplib.SMTPException
            The server cannot be reached, or refuses.
        """
        await asyncio.to_thread(self._send, body, subject or "Spheroflow")

    def _send(self, body: str, subject: str) -> None:
        mail = EmailMessage()
        mail["Subject"] = " ".join(subject.split())
        mail["From"], mail["To"] = self.sender, ", ".join(self.recipients)
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="spheroflow.invalid")
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers from holiday notices
        mail.set_content(body)
        with self._connected() as server:
            if self.user:
                server.login(self.user, self.password.get_secret_value())
            server.send_message(mail)

    def _connected(self) -> smtplib.SMTP:
        if self.security == "none":
            return smtplib.SMTP(self.host, self.port, timeout=CONNECT_SECONDS)
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=CONNECT_SECONDS, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=CONNECT_SECONDS)
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server
