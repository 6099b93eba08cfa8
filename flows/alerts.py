"""Automations in Prefect that call for a person: what they wait for, what they say, and whom they tell.

Each is made anew from the settings when the service starts; whether a person switched one off stays. What they say holds our
own ids and reasons only: it leaves the house by webhook and mail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import ActionTypes, CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.mail_block import SmtpMail
from flows.operations_settings import AlertSettings
from flows.outbox_age import LATE
from flows.secret_files import read_secret

WEBHOOK_BLOCK = "sphero-alerts"
MAIL_BLOCK = "sphero-alerts"
PREFIX = "Spheroflow: "


@dataclass(frozen=True, slots=True)
class Alert:
    """One automation.

    Attributes
    ----------
    name : str
    description : str
    expect : str
        The event it waits for; ``*`` at the end for any that goes on so.
    match, related : mapping
        Labels of what the event is about, and of what is related to it.
    what, why, link : str
        Templates: what it is about, what is wrong, and where to look.
    """

    name: str
    description: str
    expect: str
    match: Mapping[str, str | list[str]]
    related: Mapping[str, str | list[str]]
    what: str
    why: str
    link: str = ""


def _runs_of(flows: Sequence[str], states: Sequence[str]) -> dict[str, Any]:
    return {
        "expect": "prefect.flow-run.*",
        "match": {"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": list(states)},
        "related": {"prefect.resource.role": "flow", "prefect.resource.name": list(flows)},
        "what": "{{ flow_run.name }}",
        "why": "{{ flow_run.state.name }}: {{ flow_run.state.message }}",
        "link": "{{ flow_run | ui_url }}",
    }


ALERTS: tuple[Alert, ...] = (
    Alert(
        PREFIX + "a case needs a person",
        "A case failed or is held, or a receiver refused its message.",
        **_runs_of(["process-case", "deliver"], ["FAILED", "CRASHED"]),
    ),
    Alert(
        PREFIX + "the service needs a person",
        "The folder or a store cannot be read, housekeeping failed, or the audit log is broken.",
        **_runs_of(["watch-folder", "poll-store", "reconcile", "housekeeping", "verify-audit"], ["FAILED"]),
    ),
    Alert(
        PREFIX + "results wait too long",
        "The oldest message that a receiver has not accepted is older than [alerts] oldest_message_minutes.",
        expect=LATE,
        match={"prefect.resource.id": "spheroflow.destination.*"},
        related={},
        what="{{ event.payload.destination }}",
        why="{{ event.payload.waiting }} messages wait, the oldest for {{ event.payload.minutes }} minutes",
    ),
)


async def apply_alerts(client: PrefectClient, settings: AlertSettings) -> None:
    """Create, renew or remove the automations and their blocks, as the settings say.

    Raises
    ------
    SettingsError
        A file with a secret cannot be read.
    """
    actions = _Actions(await _webhook(client, settings), await _mail(client, settings))
    there = {automation.name: automation for automation in await client.read_automations()}
    for alert in ALERTS:
        before = there.get(alert.name)
        if actions.nobody:
            if before is not None:
                await client.delete_automation(before.id)
        elif before is None:
            await client.create_automation(_automation(alert, actions, enabled=True))
        else:
            await client.update_automation(before.id, _automation(alert, actions, enabled=before.enabled))


@dataclass(frozen=True, slots=True)
class _Actions:
    """Blocks by which people are told."""

    webhook: UUID | None
    mail: UUID | None

    @property
    def nobody(self) -> bool:
        return self.webhook is None and self.mail is None

    def of(self, alert: Alert) -> list[ActionTypes]:
        title = alert.name.removeprefix(PREFIX)
        found: list[ActionTypes] = []
        if self.webhook is not None:
            found.append(CallWebhook(block_document_id=self.webhook, payload=alert_json(alert)))
        if self.mail is not None:
            body = "\n\n".join(part for part in (f"{alert.what}: {alert.why}", alert.link, alert.description) if part)
            subject = f"{PREFIX}{title}: {alert.what}"
            found.append(SendNotification(block_document_id=self.mail, subject=subject, body=body))
        return found


def _automation(alert: Alert, actions: _Actions, *, enabled: bool) -> AutomationCore:
    return AutomationCore(
        name=alert.name,
        description=alert.description,
        enabled=enabled,
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={alert.expect},
            match=ResourceSpecification.model_validate(dict(alert.match)),
            match_related=ResourceSpecification.model_validate(dict(alert.related)),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(0),
        ),
        actions=actions.of(alert),
    )


def alert_json(alert: Alert) -> str:
    """A template that gives a JSON object of texts, whatever stands in them."""
    title = alert.name.removeprefix(PREFIX)
    said = {"alert": title, "what": alert.what, "why": alert.why, "link": alert.link}
    said["text"] = f"{title}: {alert.what}: {alert.why} {alert.link}".rstrip()  # what chat programs show
    parts = (f'"{key}": {{% filter tojson %}}{template}{{% endfilter %}}' for key, template in said.items())
    return "{" + ", ".join(parts) + "}"


async def _webhook(client: PrefectClient, settings: AlertSettings) -> UUID | None:
    url = settings.webhook_url
    if settings.webhook_url_file is not None:
        url = read_secret(settings.webhook_url_file, "[alerts] webhook_url_file")
    if not url:
        await _remove(client, Webhook, WEBHOOK_BLOCK)
        return None
    block = Webhook(url=SecretStr(url), headers=SecretDict({"Content-Type": "application/json"}))
    return await _saved(client, block, WEBHOOK_BLOCK)


async def _mail(client: PrefectClient, settings: AlertSettings) -> UUID | None:
    mail = settings.mail
    if not mail.host:
        await _remove(client, SmtpMail, MAIL_BLOCK)
        return None
    password = read_secret(mail.password_file, "[alerts.mail] password_file") if mail.password_file else ""
    block = SmtpMail(
        host=mail.host,
        port=mail.port,
        security=mail.security,
        ca_file=str(mail.ca_file or ""),
        user=mail.user,
        password=SecretStr(password),
        sender=mail.sender,
        recipients=list(mail.recipients),
    )
    return await _saved(client, block, MAIL_BLOCK)


async def _saved(client: PrefectClient, block: Block, name: str) -> UUID:
    saved: UUID = await block.save(name, overwrite=True, client=client)
    return saved


async def _remove(client: PrefectClient, kind: type[Block], name: str) -> None:
    """Remove the block of an earlier setting, with the address and password in it."""
    with suppress(ObjectNotFound):
        there = await client.read_block_document_by_name(name, kind.get_block_type_slug())
        await client.delete_block_document(there.id)
