"""Where the pixels of a field are."""

from __future__ import annotations

from pathlib import Path

from db.views import CaseView, FieldView
from flows.model_child import ImageTask
from integrations.dicom.frames import MEDIA_TYPE, frame_name


def image_task(store: Path, case: CaseView, field: FieldView, pixel_aspect: float) -> ImageTask:
    """Where a field's pixels are and what shape they have; `pixel_aspect` where the case names none."""
    aspect = case.acquisition.pixel_aspect or pixel_aspect
    if field.media_type == MEDIA_TYPE:  # the model process knows no DICOM: it reads the decoded frame
        return ImageTask(store / frame_name(field.stored_name, field.frame), 0, aspect)
    return ImageTask(store / field.stored_name, field.frame, aspect)
