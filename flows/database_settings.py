"""The section `[database]`: where it is, and the names of its roles on PostgreSQL."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.setting_types import Section

Role = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


class DatabaseSettings(Section):
    """Our database. `owner_url` is that of the role that owns the tables; the service needs none."""

    url: str = "sqlite:///<data>/sphero.db"
    owner_url: str = ""
    owner_role: Role = "sphero_owner"
    service_role: Role = "sphero_service"
    reader_role: Role = "sphero_reader"
