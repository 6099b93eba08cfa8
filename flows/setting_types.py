"""What sections of the settings are made of: kinds of values, and what every section has in common."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from flows.secret_files import hidden


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError('must be an address or a network, such as "10.1.2.3" or "10.1.0.0/16"') from None
    return text


def _http_url(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError('must be empty or begin with http:// or https://, such as "http://prefect.example:4200/api"')
    return url


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^\S+$")]
Network = Annotated[str, AfterValidator(_network)]


class Section(BaseModel):
    """A section: unknown keys are refused, values are frozen, errors do not repeat what was given."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What `repr` shows: no passwords."""
        for name, value in super().__repr_args__():
            yield name, hidden(value, name or "") if isinstance(value, str) else value


class TlsSection(Section):
    """A section of something that may speak TLS; see `integrations.tls`."""

    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None

    @field_validator("ca_file", "cert_file", "key_file", "key_password_file")
    @classmethod
    def _only_with_tls(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        # Who names certificates and leaves `tls` out would else send in the clear without knowing it.
        if file is not None and info.data.get("tls") is False:
            raise ValueError("is given, but tls is not: set tls = true")
        if file is not None and info.field_name == "key_file" and info.data.get("cert_file") is None:
            raise ValueError("is given without cert_file")
        return file


class TlsListenerSection(TlsSection):
    """A section of something that listens, perhaps under TLS, and then has a certificate of its own."""

    cert_file: Annotated[Path | None, Field(validate_default=True)] = None

    @field_validator("cert_file")
    @classmethod
    def _needs_certificate(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is None and info.data.get("tls"):
            raise ValueError("must be given: a TLS listener needs its certificate")
        return file
