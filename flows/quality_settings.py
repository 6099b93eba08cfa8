"""The section ``[quality]``: what a field must keep to be counted. What each key means stands in `sphero_core.quality`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.setting_types import Section
from sphero_core.quality import DEFAULT_LIMITS, QualityLimits

Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0, le=10)]


class QualitySettings(Section):
    """Limits of image quality; a field that breaks one is kept and shown, and not counted."""

    max_clipped_share: Share = DEFAULT_LIMITS.max_clipped_share
    min_clear_level: Annotated[float, Field(ge=0, le=255)] = DEFAULT_LIMITS.min_clear_level
    min_contrast: Annotated[float, Field(ge=0, le=2)] = DEFAULT_LIMITS.min_contrast
    max_edge_width: Annotated[float, Field(gt=0, le=2)] = DEFAULT_LIMITS.max_edge_width
    min_cell_share: Share = DEFAULT_LIMITS.min_cell_share
    max_cell_share: Share = DEFAULT_LIMITS.max_cell_share
    max_red_ratio: Ratio = DEFAULT_LIMITS.max_red_ratio
    min_blue_ratio: Ratio = DEFAULT_LIMITS.min_blue_ratio
    max_blue_ratio: Ratio = DEFAULT_LIMITS.max_blue_ratio
    min_outline_share: Share = DEFAULT_LIMITS.min_outline_share
    max_outline_share: Annotated[float, Field(ge=0, le=2)] = DEFAULT_LIMITS.max_outline_share
    max_ink_share: Share = DEFAULT_LIMITS.max_ink_share

    @property
    def limits(self) -> QualityLimits:
        """As the core takes them."""
        return QualityLimits(**self.model_dump())
