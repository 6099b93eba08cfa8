"""Pictures that show what was found, drawn when somebody first looks at one, and kept.

Drawing costs a third of a network pass, and most fields are never looked at: so it does not hold up the analysis.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from db.errors import NotFound
from db.session import Database
from flows.errors import FieldRefused
from flows.image_tasks import image_task
from flows.model_child import ImageTask
from flows.overlay import encode_overlay
from integrations.errors import StoreError
from integrations.folder.durable import store_errors
from sphero_core.errors import ImageError
from sphero_core.image import read_image
from sphero_core.types import FieldFindings

DRAW_SECONDS = 60.0


class Draws(Protocol):
    """What draws findings over their field: the model process, or `DrawsHere`."""

    def draw(self, task: ImageTask, findings: FieldFindings) -> Future[bytes]:
        """The findings over the field, as JPEG."""


class DrawsHere:
    """Draws in this process, for commands that run beside the service."""

    def draw(self, task: ImageTask, findings: FieldFindings) -> Future[bytes]:
        """The findings over the field, as JPEG; done when this returns."""
        drawn: Future[bytes] = Future()
        try:
            image = read_image(task.path, frame=task.frame, pixel_aspect=task.pixel_aspect)
            drawn.set_result(encode_overlay(image, findings))
        except ImageError as error:
            drawn.set_exception(FieldRefused(str(error)))
        return drawn


class Pictures:
    """The pictures of all fields; for any number of threads.

    Parameters
    ----------
    database : Database
    model : Draws
        The model process has the pixels' code loaded.
    store, folder : Path
        Where images are, and pictures go.
    pixel_aspect : float
        Where a case names none.
    """

    def __init__(self, *, database: Database, model: Draws, store: Path, folder: Path, pixel_aspect: float) -> None:
        self._database = database
        self._model = model
        self._store = store
        self._folder = folder
        self._pixel_aspect = pixel_aspect

    def file(self, picture_id: str) -> Path:
        """The file of a picture, drawn if it is not there yet.

        Raises
        ------
        NotFound
            There is no such picture, or its field is no longer analysed.
        StoreFull, StoreError
            It cannot be kept now; nothing half is left.
        DatabaseError, ModelError, TimeoutError
        """
        with self._database.reading() as work:
            picture = work.reports.picture(picture_id)
            path = self._folder / picture.stored_name
            if path.is_file():
                return path
            case = work.cases.get(picture.case_id)
            results = {result.field.field_id: result for result in work.analyses.results_of(picture.case_id)}
        result = results.get(picture.field_id)
        if result is None:
            raise NotFound("the field of this picture has no findings")
        task = image_task(self._store, case, result.field, self._pixel_aspect)
        drawn = self._model.draw(task, result.findings).result(DRAW_SECONDS)
        # A reader must never meet half of it; it need not survive a power cut, for it can be drawn anew.
        fresh = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            with store_errors():
                fresh.write_bytes(drawn)
                fresh.replace(path)
        except StoreError:
            fresh.unlink(missing_ok=True)
            raise
        return path
