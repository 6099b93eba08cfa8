"""Whose case it is: the one place that reads and writes `case_identities`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from db import schema
from db.context import Context
from db.errors import NotFound
from db.states import CaseState, HoldReason
from db.views import Identity


class Identities:
    """Accession numbers, orders and patients within one transaction (`UnitOfWork.identities`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def get(self, case_id: str) -> Identity:
        """Return whose case it is.

        Raises
        ------
        NotFound
        """
        row = self._session.get(schema.CaseIdentity, case_id)
        if row is None:
            raise NotFound(f"no case has the id {case_id}")
        values = {field.name: getattr(row, field.name) for field in fields(Identity)}
        return Identity(**{**values, "accession_issuer": row.accession_issuer or None})

    def find(self, accession: str, accession_issuer: str | None = None) -> str | None:
        """Return the id of the case under an accession number that is not rejected, or None.

        The number that the fields arrived under comes first, then the one that is reported.
        """
        table, issuer = schema.CaseIdentity, accession_issuer or ""
        active = select(table.case_id).where(table.active)
        arrived = active.where(table.arrival_accession == accession, table.arrival_issuer == issuer)
        reported = active.where(table.accession == accession, table.accession_issuer == issuer)
        return self._session.scalar(arrived) or self._session.scalar(reported)

    def find_all(self, accession: str) -> tuple[str, ...]:
        """Return the ids of the cases that are not rejected under an accession number, whoever issued it: for people only."""
        table = schema.CaseIdentity
        named = or_(table.arrival_accession == accession, table.accession == accession)
        return tuple(self._session.scalars(select(table.case_id).where(table.active, named).order_by(table.case_id)))

    def find_or_create(self, accession: str, accession_issuer: str | None = None) -> str:
        """Return the id of the case under an accession number; begin a new open case where there is none."""
        found = self.find(accession, accession_issuer)
        if found is not None:
            return found
        try:
            with self._session.begin_nested():
                return self._create(accession, accession_issuer or "")
        except IntegrityError:
            # Another transaction began the same case a moment ago and has committed it by now.
            found = self.find(accession, accession_issuer)
            if found is None:
                raise
            return found

    def set(self, case_id: str, identity: Identity) -> bool:
        """Record whose case it is, for instance from a manifest; what `identity` leaves open stays as it was.

        Returns
        -------
        bool
            False where it contradicts what is known: the case has another patient already, or the accession number
            belongs to another case that is not rejected. Then nothing is recorded and the case is held for
            `HoldReason.CONFLICT`.

        Raises
        ------
        IllegalMove
            It contradicts, and the case is rejected.
        NotFound
        """
        case = self._context.lock_case(case_id)
        row = self._session.get_one(schema.CaseIdentity, case_id, populate_existing=True)
        new = {field.name: getattr(identity, field.name) for field in fields(Identity)}
        changed = {name: value for name, value in new.items() if value is not None and getattr(row, name) != value}
        if not changed:
            return True
        if _other_patient(row, identity) or not self._write(row, changed):
            self._context.hold_case(case, HoldReason.CONFLICT)
            return False
        # The names of what changed, never the values: the audit is no place for personal data.
        self._context.audit("identity set", case_id, changed=sorted(changed))
        return True

    def overwrite(self, case_id: str, values: Mapping[str, str | datetime | None]) -> bool:
        """Record what the LIS says, over what was known; None removes.

        Parameters
        ----------
        values : mapping
            By the names of `Identity`; what is not in it stays.

        Returns
        -------
        bool
            False where the accession number belongs to another case that is not rejected: then nothing is recorded and
            the case is held for `HoldReason.CONFLICT`.

        Raises
        ------
        NotFound
        """
        case = self._context.lock_case(case_id)
        row = self._session.get_one(schema.CaseIdentity, case_id, populate_existing=True)
        changed = {name: value for name, value in values.items() if getattr(row, name) != value}
        if not changed:
            return True
        if not self._write(row, changed):
            self._context.hold_case(case, HoldReason.CONFLICT)
            return False
        self._context.audit("identity set", case_id, changed=sorted(changed))
        return True

    def _write(self, row: schema.CaseIdentity, changed: Mapping[str, str | datetime | None]) -> bool:
        try:
            with self._session.begin_nested():
                for name, value in changed.items():
                    setattr(row, name, value)
        except IntegrityError:
            return False
        return True

    def _create(self, accession: str, issuer: str) -> str:
        now, case_id = self._context.clock(), self._context.new_id()
        self._session.add(
            schema.Case(
                case_id=case_id,
                state=CaseState.OPEN,
                revision=1,
                created_at=now,
                updated_at=now,
                last_arrival_at=now,
                attempts=0,
            )
        )
        self._session.flush()
        self._session.add(
            schema.CaseIdentity(
                case_id=case_id,
                active=True,
                arrival_accession=accession,
                arrival_issuer=issuer,
                accession=accession,
                accession_issuer=issuer,
            )
        )
        self._session.flush()
        self._context.audit("case open", case_id, revision=1)
        return case_id


def _other_patient(row: schema.CaseIdentity, identity: Identity) -> bool:
    if row.patient_id is None or identity.patient_id is None:
        return False
    if row.patient_id != identity.patient_id:
        return True
    issuers = (row.patient_issuer, identity.patient_issuer)
    return None not in issuers and issuers[0] != issuers[1]
