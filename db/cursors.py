"""How far each store that we ask was looked through: what makes polling resume without gaps.

Nothing here says that an instance is ours: that is its row in `instances`. What is recorded here is recorded after that
row, so that a process killed in between looks at a study once too often and never once too seldom.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import delete, select

from db.context import Context
from db.cursor_schema import StoreCursor, StoreFailure, StoreStudy

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class CursorView:
    """How far a store was looked through.

    Attributes
    ----------
    complete_until : date or None
        Day of the last question that was followed to its end; None: there was none yet.
    asked_at, swept_at : datetime or None
        When that was, and when studies of any age were looked at.
    """

    complete_until: date | None = None
    asked_at: datetime | None = None
    swept_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StudyView:
    """A study that was looked at: how many instances there were, and whether they were left alone."""

    instances: int
    passed_over: bool


@dataclass(frozen=True, slots=True)
class FailureView:
    """An instance that did not come, and why.

    Attributes
    ----------
    attempts : int
        So far.
    not_before : datetime
        When it is tried again.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    attempts: int
    reason: str
    not_before: datetime


class Cursors:
    """The cursors within one transaction (`UnitOfWork.cursors`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def get(self, store: str) -> CursorView:
        """Return how far a store was looked through."""
        row = self._session.get(StoreCursor, store)
        return CursorView() if row is None else CursorView(row.complete_until, row.asked_at, row.swept_at)

    def complete(self, store: str, day: date, *, swept: bool) -> None:
        """Say that a question that began on `day` was followed to its end; the cursor never goes back."""
        row = self._session.get(StoreCursor, store)
        if row is None:
            row = StoreCursor(store=store, complete_until=None, asked_at=None, swept_at=None)
            self._session.add(row)
        row.complete_until = day if row.complete_until is None else max(day, row.complete_until)
        row.asked_at = self._context.clock()
        row.swept_at = row.asked_at if swept else row.swept_at

    # --------------------------------------------------------------------------------------------------------- studies
    def seen(self, store: str, study_uid: str) -> StudyView | None:
        """Return what is known of a study; None: it was not looked at yet."""
        row = self._session.get(StoreStudy, (store, study_uid))
        return None if row is None else StudyView(row.instances, row.passed_over)

    def looked_through(self, store: str, study_uid: str, instances: int, *, passed_over: bool = False) -> None:
        """Say that everything in a study is ours, not wanted, recorded as failed, or (`passed_over`) left alone."""
        row = self._session.get(StoreStudy, (store, study_uid))
        if row is None:
            row = StoreStudy(store=store, study_uid=study_uid)
            self._session.add(row)
        row.instances, row.passed_over, row.seen_at = instances, passed_over, self._context.clock()

    # -------------------------------------------------------------------------------------------------------- failures
    def failed(
        self, store: str, sop_instance_uid: str, *, study_uid: str, series_uid: str, sop_class_uid: str, reason: str
    ) -> None:
        """Say that an instance did not come; it is tried again later, each time twice as late, at last once a day.

        Parameters
        ----------
        reason : str
            In words, without contents.
        """
        row = self._session.get(StoreFailure, (store, sop_instance_uid))
        if row is None:
            row = StoreFailure(store=store, sop_instance_uid=sop_instance_uid, attempts=0)
            self._session.add(row)
        row.study_uid, row.series_uid, row.sop_class_uid = study_uid, series_uid, sop_class_uid
        row.attempts, row.reason = row.attempts + 1, reason
        row.not_before = self._context.clock() + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(row.attempts - 1, 16))

    def came(self, store: str, sop_instance_uid: str) -> None:
        """Say that an instance came after all, or is not wanted any more."""
        wanted = (StoreFailure.store == store, StoreFailure.sop_instance_uid == sop_instance_uid)
        self._session.execute(delete(StoreFailure).where(*wanted))

    def failing(self, store: str, sop_instance_uids: list[str]) -> dict[str, FailureView]:
        """Return which of these did not come before."""
        query = select(StoreFailure).where(
            StoreFailure.store == store, StoreFailure.sop_instance_uid.in_(sop_instance_uids)
        )
        return {row.sop_instance_uid: _view(row) for row in self._session.scalars(query)}

    def due(self, store: str, *, limit: int = 100) -> tuple[FailureView, ...]:
        """Return the instances that are to be tried again now, the longest overdue first."""
        query = select(StoreFailure).where(
            StoreFailure.store == store, StoreFailure.not_before <= self._context.clock()
        )
        rows = self._session.scalars(query.order_by(StoreFailure.not_before).limit(limit))
        return tuple(_view(row) for row in rows)

    def failures(self, store: str, *, limit: int = 1000) -> tuple[FailureView, ...]:
        """Return the instances that did not come, those with most attempts first."""
        query = select(StoreFailure).where(StoreFailure.store == store)
        rows = self._session.scalars(query.order_by(StoreFailure.attempts.desc()).limit(limit))
        return tuple(_view(row) for row in rows)


def _view(row: StoreFailure) -> FailureView:
    return FailureView(
        row.study_uid,
        row.series_uid,
        row.sop_instance_uid,
        row.sop_class_uid,
        row.attempts,
        row.reason,
        row.not_before,
    )
