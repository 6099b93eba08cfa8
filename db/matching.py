"""To which order of the LIS a case belongs.

A case belongs to the order under its accession number and issuer, and only if nothing contradicts: then it takes patient
and order numbers from it. Else it is held, until the order comes, the LIS corrects it, or a person links the two.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from db import schema
from db.agreement import other_number, other_patient, same_issuer
from db.cases import Cases
from db.context import Context
from db.errors import IllegalMove, NotFound
from db.identities import Identities
from db.order_rows import NUMBERS, linked_cases, under_accession
from db.order_schema import CaseOrder, OrderRow
from db.order_views import PatientIdentifier
from db.patients import DESCRIPTION, Patients
from db.states import CaseState, HoldReason, OrderState
from db.views import Identity

ORDER_HOLDS: frozenset[HoldReason] = frozenset({HoldReason.UNMATCHED_ORDER, HoldReason.CANCELLED_ORDER})
"""Reasons that go by themselves when the order comes right; a conflict stays until a person looked."""

_OUT = (CaseState.REPORTED, CaseState.SIGNED)


class Matching:
    """Cases and their orders within one transaction (`UnitOfWork.matching`)."""

    def __init__(self, context: Context, cases: Cases, identities: Identities, patients: Patients) -> None:
        self._context = context
        self._session = context.session
        self._cases = cases
        self._identities = identities
        self._patients = patients

    def match(self, case_id: str, *, required: bool) -> bool:
        """See which order a case belongs to, and take patient and numbers from it; hold the case where that is not sure.

        Parameters
        ----------
        required : bool
            Whether a case without an order is held.

        Returns
        -------
        bool
            Whether nothing is against the case as far as orders go; its holds for orders are lifted then.

        Raises
        ------
        IllegalMove
            The case is rejected and would have to be held.
        NotFound
        """
        # The case is locked before orders are looked for, and an order is written before its cases are locked: of two
        # transactions at once, the later one sees what the earlier one did.
        case = self._context.lock_case(case_id)
        self._follow_merges(case_id)
        link = self._session.get(CaseOrder, case_id, populate_existing=True)
        identity = self._identities.get(case_id)
        if link is not None and link.order_id is None:
            row: OrderRow | None = None
        elif link is not None:
            row = self._session.get_one(OrderRow, link.order_id)
        else:
            rows = under_accession(self._session, identity.accession, identity.accession_issuer)
            row = _only(rows, identity)
            if row is None and (required or rows):
                self._context.hold_case(case, HoldReason.UNMATCHED_ORDER)
                return False
        by_person = link is not None and link.linked_by is not None
        if row is not None:
            objection = self._objection(row, identity, by_person=by_person)
            if objection is not None:
                self._context.hold_case(case, objection)
                self._lift(case_id, *(ORDER_HOLDS - {objection}))
                return False
            if link is None:
                self._link(case_id, row.order_id, None)
            if not self._take(case_id, row, identity):
                return False
        self._lift(case_id, *ORDER_HOLDS)
        return True

    def match_changed(self, order_id: str, *, required: bool) -> tuple[str, ...]:
        """Match every case that a changed order concerns; returns those that nothing is against.

        Open cases wait until they are complete and their manifest is read.
        """
        sure = []
        for case_id in self._concerned(order_id):
            state = self._context.lock_case(case_id).state
            if state is not CaseState.OPEN and self.match(case_id, required=required):
                sure.append(case_id)
        return tuple(sure)

    def unmatched(self) -> tuple[str, ...]:
        """Return the cases that are held for want of an order under whose accession number there is one by now."""
        hold, table = schema.CaseHold, schema.CaseIdentity
        query = (
            select(hold.case_id)
            .join(table, table.case_id == hold.case_id)
            .join(OrderRow, OrderRow.accession == table.accession)
            .where(hold.reason == HoldReason.UNMATCHED_ORDER)
            .distinct()
            .order_by(hold.case_id)
        )
        return tuple(self._session.scalars(query))

    def link(self, case_id: str, order_id: str | None) -> None:
        """Let a person say to which order a case belongs, or that it has none (None); the transaction's actor is noted.

        The case takes patient and numbers from the order, whatever its manifest said, and is not held for its order or
        a conflict any more.

        Raises
        ------
        IllegalMove
            The case is rejected; a result of it is out for another patient; the order is cancelled; or the case shares
            bytes with another one.
        NotFound
        """
        case = self._context.lock_case(case_id)
        if case.state is CaseState.REJECTED:
            raise IllegalMove("the case is rejected; the next image under its accession number begins a new one")
        if order_id is not None:
            row = self._session.get(OrderRow, order_id)
            if row is None:
                raise NotFound("no order has this id")
            if row.state is OrderState.CANCELLED:
                raise IllegalMove("the LIS cancelled this order; link the case to another one, or reject it")
            identity = self._identities.get(case_id)
            out = case.state in _OUT or case.return_state in _OUT
            if out and other_patient(identity, self._patients.get(row.patient_key), self._everyone(row)):
                raise IllegalMove("a result of this case went out for another patient; reject the case instead")
            self._link(case_id, order_id, self._context.actor)
            if not self._take(case_id, row, identity, all_of_it=True):
                raise IllegalMove("another case stands under the order's accession number; reject one of the two first")
        else:
            self._link(case_id, None, self._context.actor)
        self._lift(case_id, *ORDER_HOLDS, HoldReason.CONFLICT)

    def linked_by_person(self, case_id: str) -> bool:
        """Whether a person said to which order a case belongs, or that it has none."""
        link = self._session.get(CaseOrder, case_id)
        return link is not None and link.linked_by is not None

    def agrees(self, case_id: str, told: Identity) -> bool | None:
        """Whether what else is told of the patient agrees with the order of a case; None where it has no order."""
        link = self._session.get(CaseOrder, case_id)
        if link is None or link.order_id is None:
            return None
        row = self._session.get_one(OrderRow, link.order_id)
        return not other_patient(told, self._patients.get(row.patient_key), self._everyone(row))

    def _concerned(self, order_id: str) -> list[str]:
        """The cases that are linked to an order, and those under its accession number; in one order for all."""
        row = self._session.get_one(OrderRow, order_id)
        table = schema.CaseIdentity
        query = select(table.case_id, table.accession_issuer).where(table.active, table.accession == row.accession)
        found = [
            case_id for case_id, issuer in self._session.execute(query) if same_issuer(issuer, row.accession_issuer)
        ]
        return sorted({*found, *linked_cases(self._session, order_id)})

    def _follow_merges(self, case_id: str) -> None:
        identity = self._identities.get(case_id)
        current = self._patients.current(identity)
        if current != identity:
            values = {"patient_id": current.patient_id, "patient_issuer": current.patient_issuer}
            self._identities.overwrite(case_id, values)

    def _objection(self, row: OrderRow, identity: Identity, *, by_person: bool) -> HoldReason | None:
        if row.state is OrderState.CANCELLED:
            return HoldReason.CANCELLED_ORDER
        patient = self._patients.get(row.patient_key)
        if other_patient(identity, patient, self._everyone(row)):
            return HoldReason.CONFLICT
        if by_person:
            return None
        contradicts = (
            other_number(row.accession, identity.accession)
            or not same_issuer(row.accession_issuer, identity.accession_issuer)
            or other_number(row.placer_order, identity.placer_order)
            or other_number(row.filler_order, identity.filler_order)
        )
        return HoldReason.CONFLICT if contradicts else None

    def _everyone(self, row: OrderRow) -> tuple[PatientIdentifier, ...]:
        return self._patients.all_identifiers(row.patient_key)

    def _take(self, case_id: str, row: OrderRow, identity: Identity, *, all_of_it: bool = False) -> bool:
        """Write what the order says into the case's identity; what only the case knows stays."""
        patient = self._patients.get(row.patient_key)
        reported = patient.identifiers[0]
        told: dict[str, str | datetime | None] = {
            "patient_id": reported.value,
            "patient_issuer": reported.authority,
            **{name: getattr(patient, name) for name in DESCRIPTION if getattr(patient, name) or all_of_it},
            **{name: getattr(row, name) for name in NUMBERS if getattr(row, name) or all_of_it},
        }
        if all_of_it:
            told |= {"accession": row.accession}
        if all_of_it or not identity.accession_issuer:
            told |= {"accession_issuer": row.accession_issuer}
        if row.collected is not None and (all_of_it or identity.collected is None):
            told |= {"collected": row.collected}
        taken = self._identities.overwrite(case_id, told)
        if taken:
            self._lift(case_id, HoldReason.NO_PATIENT)
        return taken

    def _link(self, case_id: str, order_id: str | None, person: str | None) -> None:
        link = self._session.get(CaseOrder, case_id)
        if link is None:
            link = CaseOrder(case_id=case_id)
            self._session.add(link)
        link.order_id, link.linked_by, link.linked_at = order_id, person, self._context.clock()
        self._session.flush()
        by = "accession number" if person is None else "a person"
        self._context.audit("case linked", case_id, order=order_id, by=by)

    def _lift(self, case_id: str, *reasons: HoldReason) -> None:
        placed = {hold.reason for hold in self._context.holds(case_id)}
        for reason in reasons:
            if reason in placed:
                self._cases.release(case_id, reason)


def _only(rows: Sequence[OrderRow], identity: Identity) -> OrderRow | None:
    """The one order that a case can belong to, out of those under its accession number; None where it is not sure.

    Orders that are not cancelled go before those that are, and numbers of the case's manifest decide among several.
    """
    standing = [row for row in rows if row.state is OrderState.ORDERED] or list(rows[-1:])
    if len(standing) > 1 and (identity.placer_order or identity.filler_order):
        standing = [
            row
            for row in standing
            if not other_number(row.placer_order, identity.placer_order)
            and not other_number(row.filler_order, identity.filler_order)
        ]
    return standing[0] if len(standing) == 1 else None
