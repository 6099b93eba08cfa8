"""Our own HTTP port: health, measures, and the pictures that Prefect's pages show, by ids that cannot be guessed."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response

from db.errors import DatabaseError, NotFound
from db.session import Database
from flows.errors import (
    FieldFatal,
    FieldRefused,
    FieldUnreadable,
    ModelUnavailable,
    PortTaken,
)
from flows.log import tell
from flows.overlay import smaller
from flows.pictures import Pictures
from flows.places import Places
from flows.report_pages import ReportPages
from flows.report_wiring import make_report_desk
from flows.settings import HttpSettings, Settings
from flows.wiring import make_tls_files
from integrations.errors import StoreError

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0
KEPT = {"Cache-Control": "private, max-age=3600"}
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PICTURE_ID = re.compile(r"[0-9a-f]{32}")


def make_app(
    pictures: Pictures,
    readiness: Callable[[], dict[str, str | None]],
    peers: Callable[[], dict[str, str | None]] = dict,
    measures: Callable[[], bytes] | None = None,
) -> FastAPI:
    """The application.

    Parameters
    ----------
    pictures : Pictures
    readiness : callable
        Gives each part of the service with what is wrong with it, None where nothing is.
    peers : callable
        The same for systems elsewhere that are asked; the service is ready without them.
    measures : callable or None
        Gives what Prometheus is told.
    """
    app = FastAPI(title="Spheroflow", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        parts = readiness()
        ready = not any(parts.values())
        return JSONResponse({"ready": ready, "parts": parts, "peers": peers()}, status_code=200 if ready else 503)

    if measures is not None:

        @app.get("/metrics")
        def metrics() -> Response:
            return Response(measures(), media_type=METRICS_TYPE)

    @app.get("/pictures/{picture_id}")
    def picture(picture_id: str) -> FileResponse:
        return FileResponse(drawn(picture_id), media_type="image/jpeg", headers=KEPT)

    @app.get("/pictures/{picture_id}/small")
    def small_picture(picture_id: str) -> Response:
        return Response(smaller(drawn(picture_id)), media_type="image/jpeg", headers=KEPT)

    def drawn(picture_id: str) -> Path:
        if not _PICTURE_ID.fullmatch(picture_id):
            raise HTTPException(404)
        try:
            return pictures.file(picture_id)
        except (NotFound, FieldRefused, FieldFatal):
            raise HTTPException(404) from None
        except (DatabaseError, ModelUnavailable, FieldUnreadable, StoreError, TimeoutError) as error:
            log.warning("a picture cannot be shown now: %s", tell(error))
            raise HTTPException(503) from None

    return app


class HttpServer:
    """The application on a port, in a thread.

    Parameters
    ----------
    app : FastAPI
    host : str
    port : int
    tls : SSLContext or None
    """

    def __init__(self, app: FastAPI, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._address = (host, port)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises
        ------
        PortTaken
        """
        host, port = self._address
        try:
            self._socket = socket.create_server(
                self._address, family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PortTaken(f"{host}:{port} cannot be listened on ({reason}); see [http] host and port") from None
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        if self._socket is not None:
            self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket] if self._socket else None)


def make_http_server(app: FastAPI, settings: HttpSettings, reports: ReportPages | None = None) -> HttpServer:
    """Our HTTP port, with reports for people where there are some, not started.

    Raises
    ------
    TlsError
        If a certificate file cannot be used.
    """
    if reports is not None:
        reports.serve(app)
    tls = make_tls_files(settings).server_context() if settings.tls else None
    return HttpServer(app, settings.host, settings.port, tls)


def report_pages(settings: Settings, places: Places, database: Database) -> ReportPages:
    """Reports for people over HTTP."""
    return ReportPages(database, make_report_desk(settings, places, database), settings.review)
