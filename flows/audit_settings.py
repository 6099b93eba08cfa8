"""The section `[audit]`: where heads of the audit chain are kept outside the database, and who is told of events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from flows.setting_types import Port, Seconds, Section, TlsSection


class AuditSyslogSettings(TlsSection):
    """The hospital's audit repository: DICOM audit messages over syslog, always under TLS (PS3.15 A.6)."""

    enabled: bool = False
    host: Annotated[str, Field(max_length=253, pattern=r"^\S*$", validate_default=True)] = ""
    port: Port = 6514
    tls: Literal[True] = True
    server_name: str = ""
    source_id: str = ""
    forward_seconds: Seconds = 5.0

    @field_validator("host")
    @classmethod
    def _needed(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("enabled") and not host:
            raise ValueError("must be given where enabled is true")
        return host


class AuditSettings(Section):
    """The audit log."""

    anchor_folder: Annotated[str, Field(min_length=1)] = "<data>/anchors"
    anchor_seconds: Seconds = 900.0
    syslog: AuditSyslogSettings = AuditSyslogSettings()
