"""Cases: their moves, their leases, whose they are.

Every method can be called twice with the same effect, and every move notes its audit event in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, not_, or_, select

from db import schema
from db.case_views import read_views
from db.conflicts import shares_bytes
from db.context import Context
from db.errors import IllegalMove, LeaseLost, NotFound
from db.states import CaseState, HoldReason, ReportStatus
from db.views import Acquisition, CaseView

WORK: frozenset[CaseState] = frozenset({CaseState.COMPLETE, CaseState.ANALYSED})
"""States in which a case needs a worker."""

MAX_ATTEMPTS = 5


class Cases:
    """The cases within one transaction (`UnitOfWork.cases`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def get(self, case_id: str) -> CaseView:
        """Return one case.

        Raises
        ------
        NotFound
        """
        found = self._views(schema.Case.case_id == case_id, limit=1)
        if not found:
            raise NotFound(f"no case has the id {case_id}")
        return found[0]

    def list(
        self,
        states: Collection[CaseState] | None = None,
        *,
        created_before: datetime | None = None,
        limit: int = 1000,
    ) -> tuple[CaseView, ...]:
        """Return the cases in these states (None: in any) that began before a moment, the latest first."""
        conditions: list[ColumnElement[bool]] = [] if states is None else [schema.Case.state.in_(states)]
        if created_before is not None:
            conditions.append(schema.Case.created_at <= created_before)
        return self._views(*conditions, limit=limit, newest_first=True)

    def open_cases(self) -> tuple[CaseView, ...]:
        """Return every open case, the one that has been quiet for longest first."""
        return self._views(schema.Case.state == CaseState.OPEN, limit=None)

    def unfinished(self, states: Collection[CaseState] = WORK, *, limit: int = 1000) -> tuple[CaseView, ...]:
        """Return the cases that need a worker and have none: in one of `states`, without a lease that still runs.

        With the policy that holds results back until a person signs, leave `ANALYSED` out. Cases of which a final
        result is out and that are analysed anew wait for a person under every policy: they are not among these.
        """
        free = or_(
            schema.Case.lease_owner.is_(None),
            schema.Case.lease_expires_at <= self._context.clock(),
        )
        table = schema.Report
        final = exists().where(
            table.case_id == schema.Case.case_id, table.status.in_((ReportStatus.FINAL, ReportStatus.CORRECTED))
        )
        waits = and_(schema.Case.state == CaseState.ANALYSED, final)
        return self._views(schema.Case.state.in_(states), free, not_(waits), limit=limit)

    def complete(self, case_id: str) -> None:
        """Say that no more fields are expected: from open to complete; nothing happens where that was said before.

        Raises
        ------
        IllegalMove
            The case is held or rejected.
        NotFound
        """
        row = self._context.lock_case(case_id)
        if row.state in (CaseState.COMPLETE, CaseState.ANALYSED, CaseState.REPORTED, CaseState.SIGNED):
            return
        self._context.move_case(row, CaseState.COMPLETE)

    def analysed(self, case_id: str, *, owner: str) -> None:
        """Say that every field has its outcome: from complete to analysed.

        Raises
        ------
        CaseNotReady
            A field has no outcome yet, for instance one that came late.
        LeaseLost
            `owner` does not hold the case's lease.
        IllegalMove
            The case is open again, held or rejected.
        NotFound
        """
        row = self._context.lock_case(case_id)
        if row.state in (CaseState.ANALYSED, CaseState.REPORTED, CaseState.SIGNED):
            return
        self._context.require_move(row, CaseState.ANALYSED)
        self._context.require_lease(row, owner)
        self._context.require_outcomes(row)
        self._context.move_case(row, CaseState.ANALYSED)

    def analysed_anew(self, case_id: str) -> None:
        """Say that the fields have new findings: the case is complete again, with the next revision where a report went out.

        Raises
        ------
        IllegalMove
            The case is not analysed, or held, or rejected.
        NotFound
        """
        row = self._context.lock_case(case_id)
        if row.state is CaseState.COMPLETE:
            return
        went_out = row.state in (CaseState.REPORTED, CaseState.SIGNED)
        self._context.require_move(row, CaseState.COMPLETE)
        if went_out:
            row.revision += 1
        row.attempts = 0
        self._context.move_case(row, CaseState.COMPLETE)

    def wait_for_person(self, case_id: str, *, owner: str) -> None:
        """Say that a case is analysed and goes no further without a person; its lease ends.

        Raises
        ------
        CaseNotReady, LeaseLost, IllegalMove, NotFound
            As `analysed`.
        """
        self.analysed(case_id, owner=owner)
        row = self._context.lock_case(case_id)
        if row.state is CaseState.ANALYSED and row.lease_owner == owner:
            row.lease_owner = row.lease_expires_at = None
            row.attempts = 0
            self._context.audit("case waits for a person", case_id, revision=row.revision)

    def hold(self, case_id: str, reason: HoldReason) -> None:
        """Hold a case: nothing of it is analysed or reported until it is released.

        A case that is held already is held for one reason more. Its lease ends.

        Raises
        ------
        IllegalMove
            The case is rejected.
        NotFound
        """
        self._context.hold_case(self._context.lock_case(case_id), reason)

    def release(self, case_id: str, reason: HoldReason | None = None) -> None:
        """Lift one reason for holding a case, or all; with the last one the case returns to where it was.

        Nothing happens where the case is not held, or not for that reason.

        Raises
        ------
        IllegalMove
            It is held for a conflict, and one of its fields still shares its bytes with another case: quarantine that
            field, or reject the other case, first.
        NotFound
        """
        row = self._context.lock_case(case_id)
        if row.state is not CaseState.HELD:
            return
        holds = self._context.holds(case_id)
        lifted = [hold for hold in holds if reason in (None, hold.reason)]
        if any(hold.reason is HoldReason.CONFLICT for hold in lifted) and shares_bytes(self._session, case_id):
            raise IllegalMove(
                "a field of this case is also in another one; quarantine it or reject the other case first"
            )
        for hold in lifted:
            self._session.delete(hold)
            self._context.audit("hold lifted", case_id, reason=hold.reason)
            if hold.reason is HoldReason.ATTEMPTS:
                row.attempts = 0
        if lifted and len(lifted) == len(holds) and row.return_state is not None:
            self._context.move_case(row, row.return_state)

    def reject(self, case_id: str, reason: str) -> None:
        """Reject a case for good; the next field under its accession begins a new one.

        Parameters
        ----------
        reason : str
            For the audit, without personal data.

        Raises
        ------
        IllegalMove
            The case is signed.
        NotFound
        """
        row = self._context.lock_case(case_id)
        if row.state is CaseState.REJECTED:
            return
        if row.state is CaseState.SIGNED:
            raise IllegalMove("a signed case is not rejected: correct it by signing again, or withdraw it")
        self._context.close_case(row, reason)

    def claim(self, case_id: str, owner: str, ttl_seconds: float, *, max_attempts: int = MAX_ATTEMPTS) -> bool:
        """Take the lease of a case that needs a worker.

        Each claim counts as an attempt until the case gets on; the claim after the last one holds the case for
        `HoldReason.ATTEMPTS` instead. An owner who claims again what it holds renews its lease.

        Parameters
        ----------
        owner : str
            Unique to the worker's run.
        ttl_seconds : float
            Until the lease expires.

        Returns
        -------
        bool
            Whether `owner` holds the lease now.

        Raises
        ------
        NotFound
        """
        row = self._context.lock_case(case_id)
        now = self._context.clock()
        taken = row.lease_owner is not None and row.lease_expires_at is not None and row.lease_expires_at > now
        if row.state not in WORK or (taken and row.lease_owner != owner):
            return False
        if not taken or row.lease_owner != owner:
            if row.attempts >= max_attempts:
                self._context.hold_case(row, HoldReason.ATTEMPTS)
                return False
            row.attempts += 1
            self._context.audit("case claimed", case_id, owner=owner, attempt=row.attempts)
        row.lease_owner, row.lease_expires_at = owner, now + timedelta(seconds=ttl_seconds)
        return True

    def renew(self, case_id: str, owner: str, ttl_seconds: float) -> bool:
        """Prolong a lease; False when `owner` does not hold it any more and must stop."""
        row = self._context.lock_case(case_id)
        if row.lease_owner != owner:
            return False
        row.lease_expires_at = self._context.clock() + timedelta(seconds=ttl_seconds)
        return True

    def require_lease(self, case_id: str, owner: str | None) -> None:
        """Fence what follows in this transaction: it counts only while `owner` holds the case's lease.

        Raises
        ------
        LeaseLost
            Another worker has taken over, or the case was held; roll back.
        NotFound
        """
        row = self._context.lock_case(case_id)
        if owner is None:
            raise LeaseLost(f"nobody holds the lease of case {case_id}")
        self._context.require_lease(row, owner)

    def unclaim(self, case_id: str, owner: str, *, spent: bool = True) -> None:
        """Give a lease back; nothing happens where `owner` does not hold it.

        Parameters
        ----------
        spent : bool
            Whether the attempt counts; False when work stopped for a reason that lies outside the case.
        """
        row = self._context.lock_case(case_id)
        if row.lease_owner == owner:
            self._give_back(row, spent=spent)

    def release_leases(self, owner_prefix: str) -> int:
        """End every lease whose owner's name begins so; for recovery when those workers are known to be dead.

        Returns
        -------
        int
            How many were ended. Their attempts stay spent.
        """
        query = select(schema.Case).where(schema.Case.lease_owner.startswith(owner_prefix, autoescape=True))
        rows = self._session.scalars(query.order_by(schema.Case.case_id).with_for_update()).all()
        for row in rows:
            self._give_back(row, spent=True)
        return len(rows)

    def set_flow_run(self, case_id: str, flow_run_id: str | None) -> None:
        """Note which flow run works on the case; only for people who look for it."""
        self._context.lock_case(case_id).flow_run_id = flow_run_id

    def set_acquisition(self, case_id: str, acquisition: Acquisition) -> None:
        """Note how the fields were taken; what `acquisition` leaves open stays as it was."""
        row = self._context.lock_case(case_id)
        given = {
            "expected_fields": acquisition.expected_fields,
            "um_per_pixel": acquisition.um_per_pixel,
            "pixel_aspect": acquisition.pixel_aspect,
            "stain": acquisition.stain,
        }
        changed = {name: value for name, value in given.items() if value is not None and getattr(row, name) != value}
        if not changed:
            return
        for name, value in changed.items():
            setattr(row, name, value)
        self._context.audit("acquisition set", case_id, changed=sorted(changed))

    def _give_back(self, row: schema.Case, *, spent: bool) -> None:
        owner, row.lease_owner, row.lease_expires_at = row.lease_owner, None, None
        if not spent:
            row.attempts = max(0, row.attempts - 1)
        self._context.audit("case given back", row.case_id, owner=owner, spent=spent)

    def _views(
        self, *conditions: ColumnElement[bool], limit: int | None, newest_first: bool = False
    ) -> tuple[CaseView, ...]:
        order = schema.Case.created_at.desc() if newest_first else schema.Case.last_arrival_at
        query = select(schema.Case).where(*conditions).order_by(order, schema.Case.case_id).limit(limit)
        return read_views(self._session, self._session.scalars(query).all())
