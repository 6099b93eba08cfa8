"""How far each receiver of audit events was told; moved after it took them, never before."""

from __future__ import annotations

from db.audit_schema import AuditCursorRow
from db.context import Context
from db.errors import IllegalMove
from db.views import AuditEvent, AuditHead


class AuditCursors:
    """The cursors within one transaction (`UnitOfWork.audit_cursors`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def get(self, receiver: str) -> AuditHead:
        """Return the last event that a receiver has; number 0 where it has none yet."""
        row = self._session.get(AuditCursorRow, receiver)
        return AuditHead(0, "") if row is None else AuditHead(row.sequence, row.hash)

    def move(self, receiver: str, event: AuditEvent) -> None:
        """Say that a receiver has every event up to this one.

        Raises
        ------
        IllegalMove
            It has later ones: somebody else tells it, too.
        """
        row = self._session.get(AuditCursorRow, receiver, with_for_update=True)
        if row is not None and row.sequence > event.sequence:
            raise IllegalMove(f"{receiver} has event {row.sequence} already; is there a second service that tells it?")
        if row is None:
            row = AuditCursorRow(receiver=receiver)
            self._session.add(row)
        row.sequence, row.hash, row.moved_at = event.sequence, event.hash, self._context.clock()
