"""The section `[retention]`: for how long originals, cells and reports for people are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.setting_types import Section

Days = Annotated[int, Field(ge=0, le=36_525)]


class RetentionSettings(Section):
    """Days since the last change of a closed case; 0 keeps for ever. Results, messages and audit are always kept."""

    image_days: Days = 0
    cell_days: Days = 0
    report_days: Days = 0
