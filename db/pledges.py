"""What others asked us to commit ourselves to keep, until they have their answer.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from db.context import Context
from db.errors import NotFound
from db.pledge_schema import Pledge, PledgeItem
from db.states import PLEDGE_MOVES, PledgeState, check_move


@dataclass(frozen=True, slots=True)
class PledgeView:
    """One request for commitment.

    Attributes
    ----------
    requester : str
        AE title.
    references : tuple of (str, str)
        SOP class and SOP instance UID of each instance.
    attempts : int
        To answer it.
    reason : str or None
        Why the last attempt failed.
    """

    pledge_id: str
    requester: str
    transaction_uid: str
    state: PledgeState
    references: tuple[tuple[str, str], ...]
    attempts: int
    next_attempt_at: datetime
    received_at: datetime
    reason: str | None


class Pledges:
    """The requests for commitment within one transaction (`UnitOfWork.pledges`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def ask(
        self, requester: str, transaction_uid: str, references: Sequence[tuple[str, str]], *, delay_seconds: float
    ) -> str:
        """Record a request; one that comes again under its transaction UID is answered again.

        Parameters
        ----------
        references : sequence of (str, str)
            SOP class and SOP instance UIDs.
        delay_seconds : float
            When it is to be answered first.

        Returns
        -------
        str
            Our id of it.
        """
        now = self._context.clock()
        due = now + timedelta(seconds=delay_seconds)
        query = select(Pledge).where(Pledge.requester == requester, Pledge.transaction_uid == transaction_uid)
        known = self._session.scalar(query.with_for_update())
        if known is not None:
            if known.state is not PledgeState.WAITING:
                check_move(PLEDGE_MOVES, known.state, PledgeState.WAITING)
            known.state, known.attempts, known.next_attempt_at, known.settled_at = PledgeState.WAITING, 0, due, None
            known.reason, known.received_at = None, now  # the time after which it is given up begins anew
            self._context.audit("commitment asked again", None, pledge=known.pledge_id)
            return known.pledge_id
        row = Pledge(
            pledge_id=self._context.new_id(),
            requester=requester,
            transaction_uid=transaction_uid,
            state=PledgeState.WAITING,
            attempts=0,
            next_attempt_at=due,
            received_at=now,
        )
        self._session.add(row)
        self._session.flush()
        self._session.add_all(
            PledgeItem(pledge_id=row.pledge_id, place=place, sop_class_uid=kind, sop_instance_uid=uid)
            for place, (kind, uid) in enumerate(references)
        )
        self._context.audit("commitment asked", None, pledge=row.pledge_id, instances=len(references))
        return row.pledge_id

    def due(self, *, limit: int = 20) -> tuple[PledgeView, ...]:
        """Return requests whose time for an answer has come, the most patient first."""
        query = select(Pledge).where(
            Pledge.state == PledgeState.WAITING, Pledge.next_attempt_at <= self._context.clock()
        )
        found = self._session.scalars(query.order_by(Pledge.next_attempt_at).limit(limit))
        return tuple(self._view(row) for row in found)

    def get(self, pledge_id: str) -> PledgeView:
        """Return one request.

        Raises
        ------
        NotFound
        """
        return self._view(self._row(pledge_id))

    def postpone(self, pledge_id: str, seconds: float, reason: str) -> None:
        """Say that an answer could not be delivered, and when it is tried again."""
        row = self._row(pledge_id)
        row.attempts += 1
        row.next_attempt_at, row.reason = self._context.clock() + timedelta(seconds=seconds), reason

    def settle(self, pledge_id: str, state: PledgeState, **detail: int | str) -> None:
        """Say that a request is answered, or given up.

        Raises
        ------
        IllegalMove
        NotFound
        """
        row = self._row(pledge_id)
        if row.state is state:
            return
        check_move(PLEDGE_MOVES, row.state, state)
        row.state, row.settled_at = state, self._context.clock()
        self._context.audit(f"commitment {state}", None, pledge=pledge_id, **detail)

    def _row(self, pledge_id: str) -> Pledge:
        query = select(Pledge).where(Pledge.pledge_id == pledge_id).with_for_update()
        row = self._session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            raise NotFound("no request for commitment has this id")
        return row

    def _view(self, row: Pledge) -> PledgeView:
        items = select(PledgeItem).where(PledgeItem.pledge_id == row.pledge_id).order_by(PledgeItem.place)
        references = tuple((item.sop_class_uid, item.sop_instance_uid) for item in self._session.scalars(items))
        return PledgeView(
            pledge_id=row.pledge_id,
            requester=row.requester,
            transaction_uid=row.transaction_uid,
            state=row.state,
            references=references,
            attempts=row.attempts,
            next_attempt_at=row.next_attempt_at,
            received_at=row.received_at,
            reason=row.reason,
        )
