"""Fields and refused files: what arrived, and what became of it.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from db import schema
from db.conflicts import other_holders
from db.context import Context
from db.errors import NotFound
from db.identities import Identities
from db.states import FIELD_MOVES, CaseState, FieldState, HoldReason, check_move
from db.views import Accepted, FieldView, QuarantineView

LATE: frozenset[CaseState] = frozenset({CaseState.COMPLETE, CaseState.ANALYSED, CaseState.REPORTED, CaseState.SIGNED})
"""States in which a new field is a late one."""

WENT_OUT: frozenset[CaseState] = frozenset({CaseState.REPORTED, CaseState.SIGNED})
"""States after which the next report is a new version."""


class Fields:
    """The fields within one transaction (`UnitOfWork.fields`)."""

    def __init__(self, context: Context, identities: Identities) -> None:
        self._context = context
        self._session = context.session
        self._identities = identities

    def accept(
        self,
        source_key: str,
        *,
        accession: str,
        accession_issuer: str | None = None,
        sha256: str,
        frame: int = 0,
        size_bytes: int,
        media_type: str,
        width: int,
        height: int,
        stored_name: str,
    ) -> Accepted:
        """Record a file, or one page of it, whose bytes are safe in our store.

        It joins the case under its accession number, or begins one. A late one reopens its case, with the next revision
        where a report went out already; while the case is held, that happens when it is released. Bytes that stand
        under another accession number as well are kept, and the case they came to now is held for
        `HoldReason.CONFLICT`. Accept one file in a transaction: with several, two transactions may wait for each other,
        and one of them ends with `DatabaseBusy`.

        Parameters
        ----------
        source_key : str
            Names this very file at its source (for instance path, size and time); only its digest is kept. The same
            source with the same bytes gives the same answer for ever, whatever became of its case since.
        accession, accession_issuer : str
            As the files came, for instance the folder's name; a manifest may give another number later.
        sha256 : str
            Of the file's bytes, 64 hex digits.
        frame : int
            Page of a TIFF, from 0.
        width, height : int
            Stored size in pixels.
        stored_name : str
            Name in our store, made from the content, never from what the sender called it.
        """
        self._record_bytes(sha256, size_bytes, media_type, stored_name)
        known = self._known(source_key, frame)
        if known is not None and known.sha256 == sha256:
            return Accepted(known.case_id, known.field_id, new=False, reopened=False, conflict=False)
        case_id = self._identities.find_or_create(accession, accession_issuer)
        case = self._context.lock_case(case_id)
        field = self._session.scalar(
            select(schema.Field).where(
                schema.Field.case_id == case_id, schema.Field.sha256 == sha256, schema.Field.frame == frame
            )
        )
        if field is not None:
            self._note_arrival(source_key, frame, field_id=field.field_id)
            return Accepted(case_id, field.field_id, new=False, reopened=False, conflict=False)
        field_id, now = self._context.new_id(), self._context.clock()
        self._session.add(
            schema.Field(
                field_id=field_id,
                case_id=case_id,
                number=self._next_number(case_id),
                sha256=sha256,
                frame=frame,
                width=width,
                height=height,
                state=FieldState.ACCEPTED,
                received_at=now,
            )
        )
        self._session.flush()
        self._note_arrival(source_key, frame, field_id=field_id)
        self._context.audit("field accepted", case_id, field=field_id, sha256=sha256, frame=frame)
        case.last_arrival_at = now
        reopened = self._reopen_if_late(case)
        conflict = other_holders(self._session, sha256, case_id)
        if conflict:
            self._context.hold_case(case, HoldReason.CONFLICT)
        return Accepted(case_id, field_id, new=True, reopened=reopened, conflict=conflict)

    def quarantine_file(
        self,
        source_key: str,
        *,
        accession: str | None = None,
        accession_issuer: str | None = None,
        sha256: str | None = None,
        size_bytes: int,
        reason: str,
        stored_name: str | None,
    ) -> str:
        """Record a file that was refused before it became a field; the same source is recorded once.

        It is put down to the case under its accession number, which begins with it where there is none: something came
        for that order, and somebody has to see that it could not be used.

        Parameters
        ----------
        accession : str or None
            None where the file names no case.
        sha256 : str or None
            None where the file could not be read at all.
        reason : str
            In words, without personal data and without the file's name.
        stored_name : str or None
            Where the original is kept in our quarantine; None where it could not be.

        Returns
        -------
        str
            The id of the refused file.
        """
        digest = _digest(source_key)
        known = self._session.get(schema.Arrival, (digest, 0))
        if known is not None and known.quarantine_id is not None:
            return known.quarantine_id
        case_id, now = None, self._context.clock()
        if accession is not None:
            case_id = self._identities.find_or_create(accession, accession_issuer)
            self._context.lock_case(case_id).last_arrival_at = now
        quarantine_id = self._context.new_id()
        self._session.add(
            schema.Quarantined(
                quarantine_id=quarantine_id,
                case_id=case_id,
                sha256=sha256,
                size_bytes=size_bytes,
                reason=reason,
                stored_name=stored_name,
                at=now,
            )
        )
        self._session.flush()
        self._note_arrival(source_key, 0, quarantine_id=quarantine_id)
        self._context.audit("file quarantined", case_id, file=quarantine_id, reason=reason)
        return quarantine_id

    def knows_source(self, source_key: str) -> bool:
        """Whether this source was accepted or quarantined before."""
        query = select(schema.Arrival.frame).where(schema.Arrival.source_digest == _digest(source_key)).limit(1)
        return self._session.scalar(query) is not None

    def quarantine(self, field_id: str, reason: str) -> None:
        """Say that an accepted field cannot be analysed; its file is kept.

        Parameters
        ----------
        reason : str
            In words, without personal data.

        Raises
        ------
        IllegalMove
            The field was analysed.
        NotFound
        """
        row = self._lock(field_id)
        if row.state is FieldState.QUARANTINED:
            return
        check_move(FIELD_MOVES, row.state, FieldState.QUARANTINED)
        row.state, row.reason = FieldState.QUARANTINED, reason
        self._context.audit("field quarantined", row.case_id, field=field_id, reason=reason)

    def get(self, field_id: str) -> FieldView:
        """Return one field.

        Raises
        ------
        NotFound
        """
        query = select(schema.Field, schema.StoredFile).join(schema.StoredFile)
        found = self._session.execute(query.where(schema.Field.field_id == field_id)).one_or_none()
        if found is None:
            raise NotFound(f"no field has the id {field_id}")
        return field_view(found[0], found[1])

    def of_case(self, case_id: str, state: FieldState | None = None) -> tuple[FieldView, ...]:
        """Return the fields of a case (in one state, or all) in the order they came."""
        query = select(schema.Field, schema.StoredFile).join(schema.StoredFile).where(schema.Field.case_id == case_id)
        if state is not None:
            query = query.where(schema.Field.state == state)
        found = self._session.execute(query.order_by(schema.Field.number))
        return tuple(field_view(field, file) for field, file in found)

    def quarantined_files(self, case_id: str | None = None, *, limit: int = 1000) -> tuple[QuarantineView, ...]:
        """Return the refused files of a case, or of all, the latest first."""
        query = select(schema.Quarantined).order_by(schema.Quarantined.at.desc(), schema.Quarantined.quarantine_id)
        if case_id is not None:
            query = query.where(schema.Quarantined.case_id == case_id)
        return tuple(
            QuarantineView(
                row.quarantine_id, row.case_id, row.sha256, row.size_bytes, row.reason, row.stored_name, row.at
            )
            for row in self._session.scalars(query.limit(limit))
        )

    def _lock(self, field_id: str) -> schema.Field:
        """Return a field's row, with its case locked before it: everything locks in that order."""
        case_id = self._session.scalar(select(schema.Field.case_id).where(schema.Field.field_id == field_id))
        if case_id is None:
            raise NotFound(f"no field has the id {field_id}")
        self._context.lock_case(case_id)
        return self._session.get_one(schema.Field, field_id, populate_existing=True)

    def _next_number(self, case_id: str) -> int:
        last = self._session.scalar(select(func.max(schema.Field.number)).where(schema.Field.case_id == case_id))
        return (last or 0) + 1

    def _record_bytes(self, sha256: str, size_bytes: int, media_type: str, stored_name: str) -> None:
        """Record the file once.

        While another transaction records the same bytes for the first time, this waits for it to end: else two cases
        could take the same picture at the same moment, and neither would see the other.
        """
        values = {
            "sha256": sha256,
            "size_bytes": size_bytes,
            "media_type": media_type,
            "stored_name": stored_name,
            "first_seen_at": self._context.clock(),
        }
        insert = postgresql.insert if self._session.get_bind().dialect.name == "postgresql" else sqlite.insert
        self._session.execute(insert(schema.StoredFile).values(values).on_conflict_do_nothing())

    def _known(self, source_key: str, frame: int) -> schema.Field | None:
        arrival = self._session.get(schema.Arrival, (_digest(source_key), frame), populate_existing=True)
        if arrival is None or arrival.field_id is None:
            return None
        return self._session.get_one(schema.Field, arrival.field_id)

    def _note_arrival(
        self, source_key: str, frame: int, *, field_id: str | None = None, quarantine_id: str | None = None
    ) -> None:
        self._session.merge(
            schema.Arrival(
                source_digest=_digest(source_key),
                frame=frame,
                field_id=field_id,
                quarantine_id=quarantine_id,
                at=self._context.clock(),
            )
        )

    def _reopen_if_late(self, case: schema.Case) -> bool:
        held = case.state is CaseState.HELD
        came_from = case.return_state if held else case.state
        if came_from not in LATE:
            return False
        if came_from in WENT_OUT:
            case.revision += 1
        case.attempts = 0
        if held:
            case.return_state = CaseState.OPEN
            self._context.audit("late field while held", case.case_id, came_from=came_from, revision=case.revision)
            return False
        self._context.move_case(case, CaseState.OPEN)
        return True


def field_view(row: schema.Field, file: schema.StoredFile) -> FieldView:
    """From rows to a value."""
    return FieldView(
        field_id=row.field_id,
        case_id=row.case_id,
        number=row.number,
        state=row.state,
        sha256=row.sha256,
        frame=row.frame,
        size_bytes=file.size_bytes,
        media_type=file.media_type,
        width=row.width,
        height=row.height,
        stored_name=file.stored_name,
        received_at=row.received_at,
        reason=row.reason,
    )


def _digest(source_key: str) -> str:
    return hashlib.sha256(source_key.encode("utf-8", "surrogateescape")).hexdigest()
