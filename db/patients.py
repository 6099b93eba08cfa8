"""Patients as the LIS describes them, and which identifiers were merged into which.

A patient has any number of identifiers; one of them is reported. A merge gives the prior patient's identifiers to the
surviving one and retires them: they still lead to the patient, and are not reported any more. Each merged identifier
leaves a row in `patient_merges` that nothing changes.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select

from db import schema
from db.context import Context
from db.identities import Identities
from db.order_schema import CaseOrder, OrderRow, PatientIdentifierRow, PatientMergeRow, PatientRow
from db.order_views import MergeView, PatientData, PatientIdentifier
from db.views import Identity

DESCRIPTION = ("family", "given", "birth_date", "sex")
"""What is known about a patient beside the identifiers; the same names in `patients` and in `case_identities`."""


MOVED = 1000
"""Added to the place of an identifier that came by a merge: the surviving patient's own are reported first."""


class Patients:
    """The patients within one transaction (`UnitOfWork.patients`)."""

    def __init__(self, context: Context, identities: Identities) -> None:
        self._context = context
        self._session = context.session
        self._identities = identities

    def record(self, patient: PatientData) -> str:
        """Record a patient that an order names, and return the key.

        The first identifier says who it is. What is new about a known patient reaches the cases that are linked to one of
        the patient's orders; other cases are first held against it.
        """
        first = patient.identifiers[0]
        known = self._row_of(first)
        key = known.patient_key if known is not None else self._create()
        self._add_identifiers(key, patient.identifiers)
        if self._describe(key, patient):
            for case_id in self._linked_cases(key):
                self._identities.overwrite(case_id, _described(patient))
        return key

    def update(self, patient: PatientData) -> tuple[str, ...]:
        """Apply what ADT^A08 says, to the patient and to every case of theirs; returns the cases.

        Reports that are out stay as they are; the next version carries what is known then. A patient whom neither an
        order nor a case names is not kept.
        """
        known = [row for row in map(self._row_of, patient.identifiers) if row is not None]
        for key in dict.fromkeys(row.patient_key for row in known[:1]):
            self._add_identifiers(key, patient.identifiers)
            self._describe(key, patient)
        cases = self._cases_of([*patient.identifiers, *self._all_identifiers([row.patient_key for row in known[:1]])])
        for case_id in cases:
            self._identities.overwrite(case_id, _described(patient))
        return cases

    def merge(
        self, survivor: PatientData, prior: Sequence[PatientIdentifier], message_id: str | None
    ) -> tuple[str, ...]:
        """Merge what was known under the `prior` identifiers into the surviving patient (ADT^A40); returns the cases.

        Cases of the prior patient carry the surviving identifier from now on, and reports that are out stay as they are.
        """
        head = survivor.identifiers[0]
        key = self.record(survivor)
        self._session.get_one(PatientIdentifierRow, (head.value, head.authority)).retired = False
        gone = [each for each in prior if each not in survivor.identifiers]
        moved = dict.fromkeys([*gone, *self._all_identifiers(self._keys_of(gone), but=key)])
        cases = self._cases_of(list(moved))
        for each in moved:
            self._retire(each, key, head, message_id, named=each in gone)
        reported = self._reported(key)
        for case_id in cases:
            identifier = {"patient_id": reported.value, "patient_issuer": reported.authority}
            self._identities.overwrite(case_id, {**identifier, **_described(survivor)})
        return cases

    def current(self, identity: Identity) -> Identity:
        """Return an identity with the identifier that is reported now, where its own was merged into another."""
        if identity.patient_id is None or identity.patient_issuer is None:
            return identity
        row = self._session.get(PatientIdentifierRow, (identity.patient_id, identity.patient_issuer))
        if row is None or not row.retired:
            return identity
        reported = self._reported(row.patient_key)
        return replace(identity, patient_id=reported.value, patient_issuer=reported.authority)

    def get(self, patient_key: str) -> PatientData:
        """Return a patient as known now, with the identifiers that are not retired."""
        row = self._session.get_one(PatientRow, patient_key)
        identifiers = tuple(PatientIdentifier(*each) for each in self._identifiers(patient_key, retired=False))
        return PatientData(identifiers, row.family, row.given, row.birth_date, row.sex)

    def all_identifiers(self, patient_key: str) -> tuple[PatientIdentifier, ...]:
        """Return every identifier that leads to a patient, retired ones included."""
        return tuple(self._all_identifiers([patient_key]))

    def merges_of(self, patient_key: str) -> tuple[MergeView, ...]:
        """Return what was merged into a patient, the first merge first."""
        table = PatientMergeRow
        query = select(table).where(table.survivor_key == patient_key).order_by(table.merge_number)
        return tuple(
            MergeView(
                PatientIdentifier(row.prior_identifier, row.prior_authority),
                PatientIdentifier(row.survivor_identifier, row.survivor_authority),
                row.message_id,
                row.at,
            )
            for row in self._session.scalars(query)
        )

    # --------------------------------------------------------------------------------------------------------- inside
    def _row_of(self, identifier: PatientIdentifier) -> PatientIdentifierRow | None:
        return self._session.get(PatientIdentifierRow, (identifier.value, identifier.authority))

    def _create(self) -> str:
        key = self._context.new_id()
        self._session.add(PatientRow(patient_key=key, updated_at=self._context.clock()))
        self._session.flush()
        return key

    def _add_identifiers(self, key: str, identifiers: Sequence[PatientIdentifier]) -> None:
        """Add what is new; one that leads to another patient stays there until the LIS merges the two."""
        for place, identifier in enumerate(identifiers):
            row = self._row_of(identifier)
            if row is None:
                self._session.add(
                    PatientIdentifierRow(
                        identifier=identifier.value,
                        authority=identifier.authority,
                        patient_key=key,
                        place=place,
                        retired=False,
                    )
                )
            elif row.patient_key == key:
                row.place = place
        self._session.flush()

    def _describe(self, key: str, patient: PatientData) -> bool:
        row = self._session.get_one(PatientRow, key)
        changed = {name: value for name, value in _described(patient).items() if getattr(row, name) != value}
        for name, value in changed.items():
            setattr(row, name, value)
        if changed:
            row.updated_at = self._context.clock()
            self._context.audit("patient updated", None, patient=key, changed=sorted(changed))
        return bool(changed)

    def _retire(
        self,
        identifier: PatientIdentifier,
        key: str,
        survivor: PatientIdentifier,
        message_id: str | None,
        *,
        named: bool,
    ) -> None:
        row = self._row_of(identifier)
        before = row.patient_key if row is not None else None
        if row is None:
            row = PatientIdentifierRow(
                identifier=identifier.value, authority=identifier.authority, patient_key=key, place=0, retired=False
            )
            self._session.add(row)
        if before == key and row.retired:
            return
        if before != key:
            row.place += MOVED
        # What the message names is retired; another authority's identifier of the same patient moves along as it is.
        row.patient_key, row.retired = key, row.retired or named or identifier.authority == survivor.authority
        self._session.add(
            PatientMergeRow(
                prior_identifier=identifier.value,
                prior_authority=identifier.authority,
                survivor_identifier=survivor.value,
                survivor_authority=survivor.authority,
                prior_key=before,
                survivor_key=key,
                message_id=message_id,
                at=self._context.clock(),
            )
        )
        if before is not None and before != key:
            for order in self._session.scalars(select(OrderRow).where(OrderRow.patient_key == before)):
                order.patient_key = key
        self._session.flush()
        self._context.audit("patient merged", None, prior=before, survivor=key)

    def _reported(self, key: str) -> PatientIdentifier:
        return PatientIdentifier(*self._identifiers(key, retired=False)[0])

    def _identifiers(self, key: str, *, retired: bool | None) -> list[tuple[str, str]]:
        table = PatientIdentifierRow
        query = select(table.identifier, table.authority).where(table.patient_key == key)
        if retired is not None:
            query = query.where(table.retired.is_(retired))
        query = query.order_by(table.place, table.identifier, table.authority)
        return [(row.identifier, row.authority) for row in self._session.execute(query)]

    def _all_identifiers(self, keys: Sequence[str], *, but: str | None = None) -> list[PatientIdentifier]:
        return [
            PatientIdentifier(*each)
            for key in dict.fromkeys(keys)
            if key != but
            for each in self._identifiers(key, retired=None)
        ]

    def _keys_of(self, identifiers: Sequence[PatientIdentifier]) -> list[str]:
        return [row.patient_key for row in map(self._row_of, identifiers) if row is not None]

    def _cases_of(self, identifiers: Sequence[PatientIdentifier]) -> tuple[str, ...]:
        """The cases that are not rejected and stand under one of these identifiers, in one order for all."""
        table = schema.CaseIdentity
        found: set[str] = set()
        for each in dict.fromkeys(identifiers):
            query = select(table.case_id).where(
                table.active, table.patient_id == each.value, table.patient_issuer == each.authority
            )
            found.update(self._session.scalars(query))
        return tuple(sorted(found))

    def _linked_cases(self, key: str) -> tuple[str, ...]:
        query = (
            select(CaseOrder.case_id)
            .join(OrderRow, OrderRow.order_id == CaseOrder.order_id)
            .join(schema.CaseIdentity, schema.CaseIdentity.case_id == CaseOrder.case_id)
            .where(OrderRow.patient_key == key, schema.CaseIdentity.active)
        )
        return tuple(sorted(self._session.scalars(query)))


def _described(patient: PatientData) -> dict[str, str | None]:
    """What a message says about a patient: None where it says that there is none."""
    return {name: getattr(patient, name) or None for name in DESCRIPTION if getattr(patient, name) is not None}
