"""How cases are graded, and what makes, keeps and shows reports for people, built from the settings."""

from __future__ import annotations

from db.session import Database
from flows.grading import CaseGrader
from flows.message_reports import MessageReports
from flows.places import Places
from flows.report_desk import ReportDesk
from flows.settings import Settings
from sphero_core.bundle import resolve_bundle


def make_grader(settings: Settings) -> CaseGrader:
    """How cases are counted and graded."""
    return CaseGrader(settings.site.grading, resolve_bundle(settings.model.bundle), settings.site.microcyte_um)


def make_report_desk(settings: Settings, places: Places, database: Database) -> ReportDesk:
    """What makes and keeps reports for people; its folder is made where it is missing."""
    places.reports.mkdir(mode=0o750, parents=True, exist_ok=True)
    return ReportDesk(
        database=database,
        store=places.store,
        folder=places.reports,
        laboratory=settings.site.name,
        zone=settings.time_zone,
        pixel_aspect=settings.folder.pixel_aspect,
        grader=make_grader(settings),
    )


def make_message_reports(settings: Settings, places: Places, database: Database) -> MessageReports:
    """The reports that go with messages."""
    return MessageReports(make_report_desk(settings, places, database), settings.http_url)
