"""The audit log: append only, each event chained to the one before by SHA-256.

An event's hash is ``sha256(previous hash + canonical JSON of the event)``. Events of a transaction are written at its very
end, under a lock on the chain's head: all writers come in one order, nobody waits for the head longer than a commit takes,
and since the head is always the last lock taken, it closes no circle of waiting transactions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime

from sqlalchemy import func, insert, select, update

from db.context import Context, canonical_json
from db.errors import DamagedRecord
from db.schema import AuditHeadRow, AuditRow
from db.views import AuditEvent, AuditHead, AuditVerdict

GENESIS = "0" * 64
"""The hash before the first event."""

COLUMNS = tuple(field.name for field in fields(AuditEvent))
BATCH = 1000
MOST_PROBLEMS = 100


def event_hash(
    sequence: int, at: datetime, actor: str, action: str, case_id: str | None, detail: str, previous_hash: str
) -> str:
    """Return the hash of an event, in hex.

    Parameters
    ----------
    detail : str
        Canonical JSON, as it is stored.
    previous_hash : str
        Of the event before, in hex; `GENESIS` for the first.
    """
    stamp = at.isoformat(timespec="microseconds")
    content = {
        "sequence": sequence,
        "at": stamp,
        "actor": actor,
        "action": action,
        "case_id": case_id,
        "detail": detail,
    }
    return hashlib.sha256((previous_hash + canonical_json(content)).encode()).hexdigest()


class AuditLog:
    """The audit log within one transaction (`UnitOfWork.audit`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def append(self, action: str, case_id: str | None = None, **detail: str | float | bool | None) -> None:
        """Note an event; it is written when the transaction commits, under the transaction's actor.

        Parameters
        ----------
        action : str
            What was done, e.g. ``service started``.
        case_id : str or None
            Our own id of the case.
        **detail
            What else matters. Never personal data: no names, patient ids, birth dates, accession numbers, file names.
        """
        self._context.audit(action, case_id, **detail)

    def write_pending(self) -> None:
        """Chain and write what was noted; the unit of work calls this last before it commits."""
        events = self._context.events
        if not events:
            return
        query = select(AuditHeadRow).with_for_update().execution_options(populate_existing=True)
        head = self._session.scalars(query).one_or_none()
        if head is None:
            raise DamagedRecord("the audit chain has no head; restore the database from a backup")
        sequence, previous, rows = head.sequence, head.hash, []
        for event in events:
            sequence += 1
            link = (sequence, event.at, self._context.actor, event.action, event.case_id, event.detail, previous)
            previous = event_hash(*link)
            rows.append(dict(zip(COLUMNS, (*link, previous), strict=True)))
        self._session.execute(insert(AuditRow), rows)
        self._session.execute(update(AuditHeadRow).values(sequence=sequence, hash=previous))
        events.clear()

    def head(self) -> AuditHead:
        """Return the end of the chain as committed, to be kept outside the database."""
        head = self._session.scalars(select(AuditHeadRow)).one()
        return AuditHead(head.sequence, head.hash)

    def hash_of(self, sequence: int) -> str | None:
        """Return the hash of an event as it stands in the database; None where the event is not there."""
        return self._session.scalar(select(AuditRow.hash).where(AuditRow.sequence == sequence))

    def list(self, case_id: str | None = None, *, after: int = 0, limit: int = 1000) -> tuple[AuditEvent, ...]:
        """Return committed events in order, those after the number `after`, of one case or of all."""
        query = select(AuditRow).where(AuditRow.sequence > after).order_by(AuditRow.sequence).limit(limit)
        if case_id is not None:
            query = query.where(AuditRow.case_id == case_id)
        return tuple(_event(row) for row in self._session.scalars(query))

    def verify(self, anchors: Sequence[AuditHead] = ()) -> AuditVerdict:
        """Read the whole chain and say whether an event was edited, cut out, swapped or put in.

        Parameters
        ----------
        anchors : sequence of AuditHead
            Earlier heads that were kept outside the database. Without one, a chain whose end was cut together with its
            head, or that was computed anew, looks whole.
        """
        problems: list[str] = []
        expected: dict[int, set[str]] = {}
        for anchor in anchors:
            if anchor.sequence:
                expected.setdefault(anchor.sequence, set()).add(anchor.hash)
        count, sequence, previous = 0, 0, GENESIS
        for event in self._all():
            count += 1
            problems += _problems(event, sequence, previous)
            if expected.pop(event.sequence, {event.hash}) != {event.hash}:
                problems.append(f"event {event.sequence}: its hash is not the one that was kept outside")
            sequence, previous = event.sequence, event.hash
        problems += [f"event {missing}: was kept outside, but is not there" for missing in sorted(expected)]
        head = AuditHead(sequence, previous)
        stored = self._session.execute(select(AuditHeadRow.sequence, AuditHeadRow.hash)).one_or_none()
        if stored is None or AuditHead(*stored) != head:
            problems.append(f"event {sequence}: the chain does not end where its head says; events were cut or put in")
        return AuditVerdict(count, head, tuple(problems[:MOST_PROBLEMS]))

    def _all(self) -> Iterator[AuditEvent]:
        end = self._session.scalar(select(func.max(AuditRow.sequence))) or 0
        after = self._session.scalar(select(func.min(AuditRow.sequence)))
        after = 0 if after is None else after - 1
        while after < end:
            batch = self.list(after=after, limit=BATCH)
            yield from batch
            self._session.expunge_all()
            after = batch[-1].sequence


def _problems(event: AuditEvent, sequence: int, previous: str) -> Iterator[str]:
    if event.sequence != sequence + 1:
        yield f"event {event.sequence}: follows on {sequence}; events between them were cut"
    if event.previous_hash != previous:
        yield f"event {event.sequence}: is not chained to the event before it"
    found = event_hash(
        event.sequence, event.at, event.actor, event.action, event.case_id, event.detail, event.previous_hash
    )
    if found != event.hash:
        yield f"event {event.sequence}: its content is not what was written"


def _event(row: AuditRow) -> AuditEvent:
    return AuditEvent(row.sequence, row.at, row.actor, row.action, row.case_id, row.detail, row.previous_hash, row.hash)
