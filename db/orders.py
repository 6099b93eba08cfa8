"""Orders of the LIS: what it said about each, and whether it still stands.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

from sqlalchemy import or_, select

from db.agreement import other_number, same_issuer
from db.context import Context
from db.errors import NotFound
from db.identities import Identities
from db.order_rows import NUMBERS, linked_cases, under_accession
from db.order_schema import CaseOrder, OrderRow
from db.order_views import OrderAction, OrderData, OrderView
from db.patients import Patients
from db.states import ORDER_MOVES, OrderState, check_move


class Orders:
    """The orders within one transaction (`UnitOfWork.orders`)."""

    def __init__(self, context: Context, identities: Identities, patients: Patients) -> None:
        self._context = context
        self._session = context.session
        self._identities = identities
        self._patients = patients

    # --------------------------------------------------------------------------------------------------------- record
    def record(self, order: OrderData, patient_key: str, message_id: str | None = None) -> str:
        """Record what the LIS says about an order; follow it with `Matching.match_changed` in the same transaction.

        It is the one with the same placer number, else the same filler number, else, where neither is named, the same
        accession number. An order that is changed or cancelled before it was told of is recorded all the same.

        Returns
        -------
        str
            Our id of the order.
        """
        row = self._known(order)
        if row is None:
            row = self._begin(order, patient_key)
        elif order.action is OrderAction.NEW and row.state is OrderState.CANCELLED:
            self._move(row, OrderState.ORDERED)
        before = {name: getattr(row, name) for name in NUMBERS}
        changed = self._change(row, order, patient_key)
        row.message_id = message_id
        self._session.flush()
        if changed:
            self._context.audit("order changed", None, order=row.order_id, changed=sorted(changed))
            self._tell_linked(row, before)
        if order.action is OrderAction.CANCEL and row.state is OrderState.ORDERED:
            self._move(row, OrderState.CANCELLED)
        self._session.flush()
        return row.order_id

    def knows(self, order: OrderData) -> bool:
        """Whether an order is one that was recorded before."""
        return self._known(order) is not None

    def _begin(self, order: OrderData, patient_key: str) -> OrderRow:
        now = self._context.clock()
        row = OrderRow(
            order_id=self._context.new_id(),
            state=OrderState.ORDERED,
            accession=order.accession,
            accession_issuer=order.accession_issuer,
            placer_order=order.placer_order,
            placer_issuer=order.placer_issuer,
            filler_order=order.filler_order,
            filler_issuer=order.filler_issuer,
            service=order.service,
            specimen=order.specimen,
            collected=order.collected,
            patient_key=patient_key,
            created_at=now,
            updated_at=now,
        )
        self._session.add(row)
        self._context.audit("order ordered", None, order=row.order_id)
        return row

    def _move(self, row: OrderRow, target: OrderState) -> None:
        why = check_move(ORDER_MOVES, row.state, target)
        row.state, row.updated_at = target, self._context.clock()
        self._context.audit(f"order {target}", None, order=row.order_id, why=why)

    def _change(self, row: OrderRow, order: OrderData, patient_key: str) -> list[str]:
        """Write what is said over what was known; what a message leaves out stays."""
        told = {
            "accession": order.accession,
            "accession_issuer": order.accession_issuer,
            "service": order.service,
            "specimen": order.specimen,
            "collected": order.collected,
            "patient_key": patient_key,
        }
        if order.placer_order:
            told |= {"placer_order": order.placer_order, "placer_issuer": order.placer_issuer}
        if order.filler_order:
            told |= {"filler_order": order.filler_order, "filler_issuer": order.filler_issuer}
        changed = [name for name, value in told.items() if value and getattr(row, name) != value]
        for name in changed:
            setattr(row, name, told[name])
        if changed:
            row.updated_at = self._context.clock()
        return changed

    def _tell_linked(self, row: OrderRow, before: dict[str, str | None]) -> None:
        """Let linked cases follow a number that the LIS changed; what a case has of its own is compared by `match`."""
        for case_id in linked_cases(self._session, row.order_id):
            identity = self._identities.get(case_id)
            followed = {
                name: getattr(row, name) or None
                for name in NUMBERS
                if (getattr(identity, name) or "") == (before[name] or "")
            }
            self._identities.overwrite(case_id, followed)

    def _known(self, order: OrderData) -> OrderRow | None:
        for name, issuer in (("placer_order", "placer_issuer"), ("filler_order", "filler_issuer")):
            number = getattr(order, name)
            if not number:
                continue
            found = self._session.scalars(
                select(OrderRow).where(getattr(OrderRow, name) == number).order_by(OrderRow.created_at.desc())
            )
            for row in found:
                same = same_issuer(getattr(row, issuer), getattr(order, issuer))
                # Some use the accession number as the filler number of every order under it.
                if same and not other_number(row.placer_order, order.placer_order):
                    return row
        if order.placer_order or order.filler_order:
            return None
        rows = under_accession(self._session, order.accession, order.accession_issuer)
        return next((row for row in rows if row.placer_order is None and row.filler_order is None), None)

    # ----------------------------------------------------------------------------------------------------------- read
    def get(self, order_id: str) -> OrderView:
        """Return one order.

        Raises
        ------
        NotFound
        """
        row = self._session.get(OrderRow, order_id)
        if row is None:
            raise NotFound("no order has this id")
        return self._view(row)

    def find(self, number: str) -> tuple[OrderView, ...]:
        """Return the orders with this id, accession, placer or filler number, the latest first."""
        query = select(OrderRow).where(
            or_(
                OrderRow.order_id == number,
                OrderRow.accession == number,
                OrderRow.placer_order == number,
                OrderRow.filler_order == number,
            )
        )
        rows = self._session.scalars(query.order_by(OrderRow.created_at.desc(), OrderRow.order_id))
        return tuple(self._view(row) for row in rows)

    def of_case(self, case_id: str) -> OrderView | None:
        """Return the order a case is linked to, None where there is none."""
        link = self._session.get(CaseOrder, case_id)
        return None if link is None or link.order_id is None else self.get(link.order_id)

    def list(self, state: OrderState | None = None, *, limit: int = 1000) -> tuple[OrderView, ...]:
        """Return orders in one state (None: in any), the latest first."""
        query = select(OrderRow).order_by(OrderRow.created_at.desc(), OrderRow.order_id).limit(limit)
        if state is not None:
            query = query.where(OrderRow.state == state)
        return tuple(self._view(row) for row in self._session.scalars(query))

    def _view(self, row: OrderRow) -> OrderView:
        linked = linked_cases(self._session, row.order_id)
        return OrderView(
            order_id=row.order_id,
            state=row.state,
            accession=row.accession,
            accession_issuer=row.accession_issuer,
            placer_order=row.placer_order,
            placer_issuer=row.placer_issuer,
            filler_order=row.filler_order,
            filler_issuer=row.filler_issuer,
            service=row.service,
            specimen=row.specimen,
            collected=row.collected,
            patient=self._patients.get(row.patient_key),
            patient_key=row.patient_key,
            case_id=linked[0] if linked else None,
            message_id=row.message_id,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
