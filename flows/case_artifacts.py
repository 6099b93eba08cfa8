"""What Prefect shows of a case: how far it is, pictures, a gallery, the counts, and the case on one page. Ids and numbers only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.artifacts import (
    acreate_image_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.exceptions import PrefectException

from db.views import MessageView, PictureView
from flows.analyse import CaseResult
from flows.run_texts import counts_line, counts_table, field_line, gallery_markdown, report_line, summary_markdown
from flows.services import services

log = logging.getLogger(__name__)

MOST_ARTIFACTS = 3  # pictures that are artifacts by themselves in Prefect
MOST_PICTURES = 8  # shown on the case's page there, which links to all
MOST_IN_GALLERY = 60
FEWEST_FOR_PROGRESS = 4  # fields; fewer are done before anybody looks
UPDATE_SECONDS = 2.0


class Progress:
    """How many fields of a case are done, for people who look meanwhile; a case does not fail over it.

    Parameters
    ----------
    total : int
        Fields that are analysed in this run.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._artifact: UUID | None = None
        self._told_at = time.monotonic()
        self._telling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._total >= FEWEST_FOR_PROGRESS:
            with suppress(httpx.HTTPError, PrefectException):
                made: Any = await acreate_progress_artifact(progress=0.0, description=self._said)
                self._artifact = made
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._telling is not None:
            await self._telling
        await self._tell()

    def advance(self, fields: int) -> None:
        """Count fields that are done; Prefect is told every few seconds."""
        self._done += fields
        if (self._telling is None or self._telling.done()) and time.monotonic() - self._told_at >= UPDATE_SECONDS:
            self._telling = asyncio.create_task(self._tell())

    @property
    def _said(self) -> str:
        return f"{self._done} of {self._total} fields are analysed"

    async def _tell(self) -> None:
        if self._artifact is None:
            return
        self._told_at = time.monotonic()
        with suppress(httpx.HTTPError, PrefectException):
            told: Any = aupdate_progress_artifact(
                self._artifact, progress=100.0 * self._done / self._total, description=self._said
            )
            await told


async def show_case(case_id: str, recorded: CaseResult | None) -> CaseResult | None:
    """Put what was found into Prefect: what this run recorded, or else the case's latest result; None where there is none."""
    at_hand = services()

    def read() -> tuple[CaseResult | None, dict[str, PictureView], tuple[MessageView, ...]]:
        with at_hand.database.reading() as work:
            messages = work.outbox.of_case(case_id)
        return recorded or at_hand.work.result(case_id), at_hand.work.pictures(case_id), messages

    result, pictures, messages = await asyncio.to_thread(read)
    if result is None:
        return None
    await _show_pictures(result, pictures)
    await acreate_table_artifact(
        table=counts_table(result, pictures, at_hand.picture_url),
        description=f"Counts by field: {counts_line(result.report.counts)}",
    )
    mine = [message for message in messages if message.revision == result.report.revision]
    page = summary_markdown(result, mine, pictures, at_hand.picture_url, most_pictures=MOST_PICTURES)
    await acreate_markdown_artifact(markdown=page, description=f"The case on one page: {report_line(result.report)}")
    return result


async def _show_pictures(result: CaseResult, pictures: Mapping[str, PictureView]) -> None:
    url = services().picture_url
    for number, field in enumerate(result.fields[:MOST_ARTIFACTS], start=1):
        if picture := pictures.get(field.field.field_id):
            await acreate_image_artifact(
                image_url=f"{url}/{picture.picture_id}", description=f"Field {number}: {field_line(field.findings)}"
            )
    if len(result.fields) > 1:
        gallery = gallery_markdown(result, pictures, url, most=MOST_IN_GALLERY)
        await acreate_markdown_artifact(markdown=gallery, description="Gallery: the fields side by side")
