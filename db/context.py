"""What the parts of one unit of work share, and the few steps that most of them need."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import schema
from db.errors import CaseNotReady, LeaseLost, NotFound
from db.states import CaseState, FieldState, HoldReason, check_case_move

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


def new_id(now: datetime) -> str:
    """Return a new opaque id: UUID version 7 (RFC 9562), so that ids sort by their time.

    Parameters
    ----------
    now : datetime
        Aware.
    """
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def canonical_json(value: object) -> str:
    """Return `value` as JSON with one spelling only: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An audit event that is written when its transaction commits."""

    at: datetime
    action: str
    case_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Context:
    """One transaction: its session, its clock, who acts, and the audit events it will write at its end."""

    session: Session
    clock: Clock
    actor: str
    events: list[PendingEvent] = field(default_factory=list)

    def new_id(self) -> str:
        """Return a new opaque id."""
        return new_id(self.clock())

    def audit(self, action: str, case_id: str | None, **detail: Any) -> None:
        """Note an audit event; it is chained and written when the transaction commits."""
        self.events.append(PendingEvent(self.clock(), action, case_id, canonical_json(detail)))

    def lock_case(self, case_id: str) -> schema.Case:
        """Return the row of a case, locked against every other transaction that would change it.

        Raises
        ------
        NotFound
        """
        query = select(schema.Case).where(schema.Case.case_id == case_id).with_for_update()
        row = self.session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            raise NotFound(f"no case has the id {case_id}")
        return row

    def move_case(self, row: schema.Case, target: CaseState, **detail: Any) -> None:
        """Move a locked case along its table and note the audit event.

        Raises
        ------
        IllegalMove
        """
        current = row.state
        why = check_case_move(current, target, row.return_state)
        row.return_state = current if target is CaseState.HELD else None
        row.state = target
        row.updated_at = self.clock()
        self.audit(f"case {target}", row.case_id, came_from=current, why=why, revision=row.revision, **detail)

    def holds(self, case_id: str) -> Sequence[schema.CaseHold]:
        """Return the reasons for which a case is held."""
        return self.session.scalars(select(schema.CaseHold).where(schema.CaseHold.case_id == case_id)).all()

    def hold_case(self, row: schema.Case, reason: HoldReason) -> None:
        """Hold a locked case for one reason more; its lease ends.

        Raises
        ------
        IllegalMove
            The case is rejected.
        """
        if any(hold.reason is reason for hold in self.holds(row.case_id)):
            return
        if row.state is CaseState.HELD:
            self.audit("hold added", row.case_id, reason=reason)
        else:
            self.move_case(row, CaseState.HELD, reason=reason)
        self.session.add(schema.CaseHold(case_id=row.case_id, reason=reason, placed_at=self.clock()))
        row.lease_owner = row.lease_expires_at = None

    def close_case(self, row: schema.Case, reason: str) -> None:
        """Reject a locked case: its lease and its holds end, and its accession number is free for a new case.

        Raises
        ------
        IllegalMove
        """
        self.move_case(row, CaseState.REJECTED, reason=reason)
        row.lease_owner = row.lease_expires_at = None
        for hold in self.holds(row.case_id):
            self.session.delete(hold)
        self.session.get_one(schema.CaseIdentity, row.case_id).active = False

    def require_move(self, row: schema.Case, target: CaseState) -> None:
        """Raise `IllegalMove` unless a locked case may move to `target`."""
        check_case_move(row.state, target, row.return_state)

    def require_lease(self, row: schema.Case, owner: str) -> None:
        """Raise `LeaseLost` unless `owner` holds the lease of a locked case.

        An expired lease that nobody took since still counts: nobody else has worked on the case.
        """
        if row.lease_owner != owner:
            raise LeaseLost(f"the lease of case {row.case_id} ended or belongs to another worker; leave the case to it")

    def require_outcomes(self, row: schema.Case) -> None:
        """Raise `CaseNotReady` while a field of a locked case has no outcome."""
        query = select(func.count()).where(
            schema.Field.case_id == row.case_id, schema.Field.state == FieldState.ACCEPTED
        )
        if pending := self.session.scalar(query):
            raise CaseNotReady(
                f"{pending} fields of case {row.case_id} have no outcome yet; analyse or quarantine them"
            )
