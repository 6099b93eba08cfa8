"""What can be set about running the service: its log, alerts, and what is kept for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from flows.setting_types import HttpUrl, Port, Section

Days = Annotated[int, Field(ge=1, le=3650)]
Minutes = Annotated[float, Field(gt=0, le=100_000)]
MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$", max_length=254)]


class LogSettings(Section):
    """Our log, on standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class MailSettings(Section):
    """To whom alerts go by mail, and through which server."""

    host: Annotated[str, Field(max_length=253, pattern=r"^\S*$")] = ""
    port: Port = 25
    security: Literal["none", "starttls", "tls"] = "none"
    ca_file: Path | None = None
    user: str = ""
    password_file: Annotated[Path | None, Field(validate_default=True)] = None
    sender: Annotated[str, Field(validate_default=True)] = ""
    recipients: Annotated[tuple[MailAddress, ...], Field(validate_default=True)] = ()

    @field_validator("password_file")
    @classmethod
    def _not_in_the_clear(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("security") == "none":
            raise ValueError('would go in the clear: set security = "starttls" or "tls"')
        if (file is None) != (not info.data.get("user")):
            raise ValueError("user and password_file are given together")
        return file

    @field_validator("sender", "recipients")
    @classmethod
    def _needed(cls, value: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        if info.data.get("host") and not value:
            raise ValueError("must be given where host is")
        return value


class AlertSettings(Section):
    """When people are told that they are needed, and how."""

    oldest_message_minutes: Minutes = 60.0
    webhook_url: HttpUrl = ""
    webhook_url_file: Path | None = None
    mail: MailSettings = MailSettings()

    @field_validator("webhook_url_file")
    @classmethod
    def _one_of_them(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("webhook_url"):
            raise ValueError("is given together with webhook_url: give one of them")
        return file


class HousekeepingSettings(Section):
    """For how many days is kept what can be had again or is nobody's record."""

    prefect_days: Days = 90
    watching_days: Days = 7
    picture_days: Days = 30
    output_days: Days = 30
