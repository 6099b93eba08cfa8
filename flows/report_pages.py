"""Reports for people over HTTP: where messages point to. Who reads one is asked, and noted in the audit; a report names the patient."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response

from db.errors import DatabaseError, NotFound
from db.session import Database
from flows.errors import PersonUnknown, ReviewRefused
from flows.log import tell
from flows.people import actor_from_headers
from flows.report_desk import ReportDesk
from flows.settings import ReviewSettings

log = logging.getLogger(__name__)

_NAME = re.compile(r"[0-9a-f]{64}\.pdf")


class ReportPages:
    """Kept reports by their names.

    Parameters
    ----------
    database : Database
    desk : ReportDesk
    review : ReviewSettings
        Which header names the person.
    """

    def __init__(self, database: Database, desk: ReportDesk, review: ReviewSettings) -> None:
        self._database = database
        self._desk = desk
        self._review = review

    def read(self, name: str, headers: Mapping[str, str]) -> bytes:
        """The report of this name, for the person that the identity provider in front of us names.

        Raises
        ------
        PersonUnknown
            Nobody is named.
        NotFound
            There is no such report.
        ReviewRefused
            It cannot be read, or is not what was made.
        DatabaseError
        """
        actor = actor_from_headers(self._review, headers)
        case_id, data = self._desk.opened(name)
        with self._database.transaction(actor.login) as work:
            work.audit.append("report read", case_id, file=name)
        return data

    def serve(self, app: FastAPI) -> None:
        """Answer ``/reports/`` of our HTTP port."""

        @app.get("/reports/{name}")
        def report(name: str, request: Request) -> Response:
            if not _NAME.fullmatch(name):
                raise HTTPException(404)
            try:
                data = self.read(name, request.headers)
            except PersonUnknown as unknown:
                raise HTTPException(403, str(unknown)) from None
            except NotFound:
                raise HTTPException(404) from None
            except (DatabaseError, ReviewRefused) as error:
                log.warning("a report cannot be shown now: %s", tell(error))
                raise HTTPException(503) from None
            return Response(data, media_type="application/pdf", headers={"Cache-Control": "no-store"})
