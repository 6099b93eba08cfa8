"""What can be set about watching: how much disk is kept free, and what the drift of results is told from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from flows.setting_types import Section

MIB = 1024 * 1024


class DiskSettings(Section):
    """How much disk is kept free.

    Attributes
    ----------
    stop_below_mib : int
        With less room, in MiB, nothing more is taken in; what was accepted is still analysed, recorded and sent. 0: never.
    warn_below_mib : int
        With less room `sphero doctor` warns.
    """

    stop_below_mib: Annotated[int, Field(ge=0, le=10_000_000)] = 1024
    warn_below_mib: Annotated[int, Field(ge=0, le=10_000_000)] = 5120

    @field_validator("warn_below_mib")
    @classmethod
    def _not_below_the_stop(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("stop_below_mib", 0):
            raise ValueError("must not be less than stop_below_mib")
        return value

    @property
    def stop_bytes(self) -> int:
        """`stop_below_mib` in bytes."""
        return self.stop_below_mib * MIB

    @property
    def warn_bytes(self) -> int:
        """`warn_below_mib` in bytes."""
        return self.warn_below_mib * MIB


class WatchSettings(Section):
    """What is told to monitoring.

    Attributes
    ----------
    drift_cases : int
        The median spherocyte percentage of so many of the latest cases is compared
    baseline_cases : int
        with that of so many cases before them.
    """

    drift_cases: Annotated[int, Field(ge=5, le=10_000)] = 50
    baseline_cases: Annotated[int, Field(ge=5, le=100_000)] = 500
