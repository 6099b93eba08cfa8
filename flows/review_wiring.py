"""The review desk built from the settings, for commands and pages beside the service."""

from __future__ import annotations

import functools
from datetime import datetime

from db.session import Database
from flows.archive_wiring import make_archiving
from flows.message_pictures import MessagePictures
from flows.pictures import DrawsHere, Pictures
from flows.places import places_of
from flows.report_wiring import make_grader, make_message_reports
from flows.review_desk import ReviewDesk
from flows.settings import Settings
from flows.wiring import make_profiles


def make_review_desk(settings: Settings, database: Database) -> ReviewDesk:
    """The desk; pictures are drawn in this process.

    Raises
    ------
    ProfileError, SettingsError
        A profile, or a code of the site, cannot be used.
    """
    places = places_of(settings)
    pictures = Pictures(
        database=database,
        model=DrawsHere(),
        store=places.store,
        folder=places.pictures,
        pixel_aspect=settings.folder.pixel_aspect,
    )
    return ReviewDesk(
        database=database,
        profiles=make_profiles(settings),
        pictures=MessagePictures(file=pictures.file, url=settings.http_url),
        clock=functools.partial(datetime.now, settings.time_zone),
        grader=make_grader(settings),
        archiving=make_archiving(settings, places, database),
        reports=make_message_reports(settings, places, database),
    )
