"""Alerts: how mail is sent, what may stand in the settings, and what is told as JSON."""

from __future__ import annotations

import json
import smtplib
import ssl
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from pydantic import SecretStr

from flows.alerts import ALERTS, alert_json
from flows.config import check_settings
from flows.errors import SettingsError
from flows.mail_block import SmtpMail
from tests.alert_peers import MailSink
from tests.certificates import Authority
from tests.support import free_port

MAIL = {"host": "mail.example.org", "sender": "sphero@example.org", "recipients": ["lab@example.org"]}


def mail(port: int, **more: Any) -> SmtpMail:
    return SmtpMail(
        host="127.0.0.1", port=port, sender="sphero@example.org", recipients=["a@example.org", "b@example.org"], **more
    )


async def test_mail_reaches_all_recipients_as_it_was_written() -> None:
    with MailSink() as sink:
        await mail(sink.port).notify(".dots\n.and ümlauts stay", "a case\nneeds a person")
    (received,) = sink.received
    assert (received["To"], received["Subject"]) == ("a@example.org, b@example.org", "a case needs a person")
    assert received["Auto-Submitted"] == "auto-generated"
    assert received.get_content().splitlines() == [".dots", ".and ümlauts stay"]
    assert sink.logins == []


async def test_under_tls_the_server_is_checked_before_the_password_is_told(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    files = authority.sign("mail")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    assert files.cert_file is not None
    context.load_cert_chain(files.cert_file, files.key_file)
    login = {"security": "tls", "user": "sphero", "password": SecretStr("secret")}
    with MailSink(context) as sink:
        await mail(sink.port, ca_file=str(authority.file), **login).notify("body", "subject")
        with pytest.raises(ssl.SSLCertVerificationError):
            await mail(sink.port, ca_file=str(stranger.file), **login).notify("body", "subject")
    assert (sink.logins, len(sink.received)) == (["\0sphero\0secret"], 1)
    assert "secret" not in repr(mail(1, **login))


async def test_a_server_that_is_away_or_offers_no_tls_is_an_error_and_gets_nothing() -> None:
    with pytest.raises(ConnectionRefusedError):
        await mail(free_port()).notify("body", "subject")
    with MailSink() as sink:
        with pytest.raises(smtplib.SMTPNotSupportedError):
            await mail(sink.port, security="starttls", user="u", password=SecretStr("p")).notify("body", "subject")
        assert (sink.logins, sink.received) == ([], [])


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        ({"webhook_url": "ftp://x"}, "webhook_url"),
        ({"webhook_url": "https://x", "webhook_url_file": "f"}, "webhook_url_file: is given together"),
        ({"oldest_message_minutes": 0}, "oldest_message_minutes"),
        ({"mail": {"host": "mail.example.org"}}, "sender: must be given"),
        ({"mail": {**MAIL, "recipients": []}}, "recipients: must be given"),
        ({"mail": {**MAIL, "recipients": ["nobody"]}}, "recipients"),
        ({"mail": {**MAIL, "user": "u", "password_file": "p"}}, "in the clear"),
        ({"mail": {**MAIL, "security": "tls", "user": "u"}}, "given together"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, alerts: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        check_settings({"alerts": alerts}, tmp_path)


def test_files_are_meant_from_the_folder_of_the_settings(tmp_path: Path) -> None:
    given = {"webhook_url_file": "w", "mail": {**MAIL, "security": "tls", "user": "u", "password_file": "p"}}
    settings = check_settings({"alerts": given, "prefect": {"auth_file": "a"}}, tmp_path)
    files = (settings.alerts.webhook_url_file, settings.alerts.mail.password_file, settings.prefect.auth_file)
    assert files == (tmp_path / "w", tmp_path / "p", tmp_path / "a")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_what_is_told_is_json_whatever_stands_in_it(alert: Any) -> None:
    hostile = 'quote " backslash \\ line\nbreak <tag> {{ 7 * 7 }}'
    run = {"name": hostile, "state": {"name": "Held", "message": hostile}}
    event = {"payload": {"destination": hostile, "waiting": 3, "minutes": 61}}
    environment = Environment(autoescape=False)  # noqa: S701  # as Prefect's: it renders texts, not pages
    environment.filters["ui_url"] = lambda _: "http://prefect.example/run"
    said = json.loads(environment.from_string(alert_json(alert)).render(flow_run=run, event=event))
    assert set(said) == {"alert", "what", "why", "link", "text"}
    assert said["what"] == hostile
    assert hostile in said["text"]
