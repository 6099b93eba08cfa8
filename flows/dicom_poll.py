"""New instances of a store, taken without gaps and without doubles.

What is ours is told by its row in `instances`, and by nothing else: an instance is fetched when a store has it, it is
wanted, and no row stands for its SOP instance UID. The cursor only says where there is no need to look:

- Studies whose date is not older than `days_back` before the day of the last *complete* question are looked at each time.
  While a store is away, or a question is broken off, the day stands still, and the window grows.
- A study is skipped while the store counts as many instances of it as were listed when it was looked through. What
  arrives late changes that number.
- A study that arrives with an older date is found by the sweep: once in `sweep_hours`, `sweep_days` back, and there each
  study is listed again, whatever its number.
- An instance that does not come is recorded with its reason and tried again, ever more seldom; the others go on.

The first question passes over what is older than `days_back`: a new installation does not report last month's cases.
Each of these records is written after the rows of the instances that it speaks of: a process killed in between looks
once more, finds the rows, and fetches nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby, islice

from db.cursors import CursorView, FailureView
from db.session import Database
from flows.dicom_accept import InstanceDesk
from flows.errors import StoreStopped
from integrations.dicom.fetching import InstanceAnswer, Store, StudyAnswer
from integrations.dicom.part10 import EncodedInstance
from integrations.errors import PeerUnavailable

log = logging.getLogger(__name__)

ACTOR = "dicom-poll"
BATCH = 20  # instances of one series in one request
RETRIES = 20  # instances that are tried again in one poll


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which instances are wanted.

    Attributes
    ----------
    modalities, sop_classes : frozenset of str
    days_back : int
        Before the last complete question; such studies are looked at each time.
    sweep_days : int
        The same for the sweep; 0: everything.
    sweep_every : timedelta
    """

    modalities: tuple[str, ...]
    sop_classes: frozenset[str]
    days_back: int
    sweep_days: int
    sweep_every: timedelta

    def fits(self, answer: InstanceAnswer) -> bool:
        """Whether an instance is wanted; what a store does not say does not speak against it."""
        return (not answer.modality or answer.modality in self.modalities) and (
            not answer.sop_class_uid or answer.sop_class_uid in self.sop_classes
        )


@dataclass(slots=True)
class Polled:
    """What one poll did."""

    studies: int = 0
    fetched: int = 0
    failed: int = 0


class StorePoller:
    """Looks through one store.

    Parameters
    ----------
    name : str
        Of the store in the settings; stands as source in the rows of its instances.
    database : Database
    desk : InstanceDesk
    wanted : Wanted
    now : callable
        The time in the site's time zone: study dates are local.
    stopped : callable
        Whether to end early.
    """

    def __init__(
        self,
        name: str,
        *,
        database: Database,
        desk: InstanceDesk,
        wanted: Wanted,
        now: Callable[[], datetime],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self._database = database
        self._desk = desk
        self._wanted = wanted
        self._now = now
        self._stopped = stopped

    def poll(self, store: Store, done: Polled) -> None:
        """Look through it once; the cursor moves when the end was reached.

        Parameters
        ----------
        store : Store
        done : Polled
            Is filled, also where this ends early.

        Raises
        ------
        PeerUnavailable, PeerRefused
            What came until then is ours.
        StoreStopped
        StoreError, DatabaseError
        """
        day = self._now().date()
        with self._database.reading() as work:
            cursor = work.cursors.get(self.name)
        sweeps = self._is_sweep_due(cursor)
        recent = (cursor.complete_until or day) - timedelta(days=self._wanted.days_back)
        if cursor.complete_until is None:
            self._pass_over(store, recent, day)
        since = self._sweep_since(day, recent) if sweeps and cursor.complete_until is not None else recent
        for study in self._studies(store, since):
            self._look(store, study, done, again=sweeps and cursor.complete_until is not None)
        with self._database.transaction(ACTOR) as work:
            work.cursors.complete(self.name, day, swept=sweeps)
        self._retry(store, done)

    def _is_sweep_due(self, cursor: CursorView) -> bool:
        return cursor.swept_at is None or self._now() - cursor.swept_at >= self._wanted.sweep_every

    def _sweep_since(self, day: date, since: date) -> date | None:
        return min(since, day - timedelta(days=self._wanted.sweep_days)) if self._wanted.sweep_days else None

    # ---------------------------------------------------------------------------------------------------------- studies
    def _studies(self, store: Store, since: date | None) -> Iterator[StudyAnswer]:
        for study in store.studies(self._wanted.modalities, since):
            self._stop_if_asked()
            yield study

    def _pass_over(self, store: Store, since: date, day: date) -> None:
        """Note what is there and too old, so that the sweep tells it from what arrives later."""
        recent = {study.study_uid for study in self._studies(store, since)}
        for study in self._studies(store, self._sweep_since(day, since)):
            if study.study_uid in recent:
                continue
            count = study.instances
            if count is None:
                count = sum(1 for _ in store.instances(study.study_uid))
            with self._database.transaction(ACTOR) as work:
                if work.cursors.seen(self.name, study.study_uid) is None:
                    work.cursors.looked_through(self.name, study.study_uid, count, passed_over=True)

    def _look(self, store: Store, study: StudyAnswer, done: Polled, *, again: bool) -> None:
        with self._database.reading() as work:
            seen = work.cursors.seen(self.name, study.study_uid)
        if seen is not None and seen.instances == study.instances and (seen.passed_over or not again):
            return
        done.studies += 1
        listed = 0
        for batch in batches(store.instances(study.study_uid)):
            listed += len(batch)
            self._take(store, [answer for answer in batch if self._wanted.fits(answer)], done)
        # The number that was listed, not the one that was told before: where they differ, it is looked at again.
        with self._database.transaction(ACTOR) as work:
            work.cursors.looked_through(self.name, study.study_uid, listed)

    # -------------------------------------------------------------------------------------------------------- instances
    def _take(self, store: Store, answers: Sequence[InstanceAnswer], done: Polled) -> None:
        """Fetch those of a batch that are not ours and not known to fail."""
        uids = [answer.sop_instance_uid for answer in answers]
        with self._database.reading() as work:
            failing = work.cursors.failing(self.name, uids)
            ours = {instance.sop_instance_uid for instance in work.instances.standing(uids)}
        fresh = [each for each in answers if each.sop_instance_uid not in ours and each.sop_instance_uid not in failing]
        if ours & failing.keys():
            self._settle(ours & failing.keys())
        if fresh:
            self._fetch(store, fresh, done)

    def _retry(self, store: Store, done: Polled) -> None:
        """Try again what did not come and is due, one by one."""
        with self._database.reading() as work:
            due = work.cursors.due(self.name, limit=RETRIES)
            ours = {each.sop_instance_uid for each in work.instances.standing([each.sop_instance_uid for each in due])}
        for failure in due:
            self._stop_if_asked()
            if failure.sop_instance_uid in ours:
                self._settle([failure.sop_instance_uid])
            else:
                self._fetch(store, [_answer(failure)], done)

    def _fetch(self, store: Store, answers: Sequence[InstanceAnswer], done: Polled) -> None:
        uids = [answer.sop_instance_uid for answer in answers]
        reasons: dict[str, str] = {}
        try:
            told = store.fetch(answers, self._accept)
            reasons = {uid: told.get(uid, "it was sent, and did not arrive") for uid in uids}
        except PeerUnavailable as error:
            # One that breaks every connection must not stand before the others for ever.
            reasons = dict.fromkeys(uids, str(error))
            raise
        finally:
            with self._database.reading() as work:  # whatever was told: ours is what has its row
                ours = {instance.sop_instance_uid for instance in work.instances.standing(uids)}
            done.fetched += len(ours)
            done.failed += len(reasons.keys() - ours)
            self._record(answers, ours, reasons)

    def _accept(self, answer: InstanceAnswer, instance: EncodedInstance) -> None:
        self._stop_if_asked()
        self._desk.accept(instance, source=self.name, study_uid=answer.study_uid, series_uid=answer.series_uid)

    def _record(self, answers: Sequence[InstanceAnswer], ours: set[str], reasons: dict[str, str]) -> None:
        with self._database.transaction(ACTOR) as work:
            for each in answers:
                uid = each.sop_instance_uid
                if uid in ours:
                    work.cursors.came(self.name, uid)
                elif uid in reasons:
                    work.cursors.failed(
                        self.name,
                        uid,
                        study_uid=each.study_uid,
                        series_uid=each.series_uid,
                        sop_class_uid=each.sop_class_uid,
                        reason=reasons[uid],
                    )

    def _settle(self, uids: Iterable[str]) -> None:
        with self._database.transaction(ACTOR) as work:
            for uid in uids:
                work.cursors.came(self.name, uid)

    def _stop_if_asked(self) -> None:
        if self._stopped():
            raise StoreStopped(f"the poll of {self.name} ends early: the service stops")


def batches(answers: Iterable[InstanceAnswer], size: int = BATCH) -> Iterator[list[InstanceAnswer]]:
    """Answers in their order, so many at a time, and never of two series."""
    for _, series in groupby(answers, key=lambda answer: answer.series_uid):
        while batch := list(islice(series, size)):
            yield batch


def _answer(failure: FailureView) -> InstanceAnswer:
    return InstanceAnswer(failure.study_uid, failure.series_uid, failure.sop_instance_uid, failure.sop_class_uid)
