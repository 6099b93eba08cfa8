"""Queries about orders that several parts need."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import schema
from db.agreement import same_issuer
from db.order_schema import CaseOrder, OrderRow

NUMBERS = ("placer_order", "placer_issuer", "filler_order", "filler_issuer")
"""The numbers that a case echoes; the same names in `orders` and in `case_identities`."""


def linked_cases(session: Session, order_id: str) -> list[str]:
    """The cases that belong to an order and are not rejected."""
    query = (
        select(CaseOrder.case_id)
        .join(schema.CaseIdentity, schema.CaseIdentity.case_id == CaseOrder.case_id)
        .where(CaseOrder.order_id == order_id, schema.CaseIdentity.active)
    )
    return sorted(session.scalars(query))


def under_accession(session: Session, accession: str, issuer: str | None) -> list[OrderRow]:
    """The orders under an accession number whose issuer may be this one, the first first."""
    query = select(OrderRow).where(OrderRow.accession == accession).order_by(OrderRow.created_at, OrderRow.order_id)
    return [row for row in session.scalars(query) if same_issuer(row.accession_issuer, issuer)]
