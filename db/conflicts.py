"""The same picture in two cases: one of them has the wrong patient."""

from __future__ import annotations

import functools

from sqlalchemy import BindParameter, Select, bindparam, select
from sqlalchemy.orm import Session, aliased

from db import schema
from db.states import CLOSED_CASES, FieldState


def other_holders(session: Session, sha256: str, case_id: str) -> bool:
    """Whether another case than `case_id`, which came under another accession, has a field of these bytes.

    A rejected case counts too: its pictures turning up elsewhere deserve a look.
    """
    return session.scalar(_other_holders(), {"sha256": sha256, "case_id": case_id}) is not None


@functools.cache
def _other_holders() -> Select[str]:
    """The query, built once: with its aliases that takes longer than to run it."""
    own, other = aliased(schema.CaseIdentity), aliased(schema.CaseIdentity)
    case_id: BindParameter[str] = bindparam("case_id")
    return (
        select(schema.Field.field_id)
        .join(other, other.case_id == schema.Field.case_id)
        .join(own, own.case_id == case_id)
        .where(
            schema.Field.sha256 == bindparam("sha256"),
            schema.Field.case_id != case_id,
            (other.arrival_accession != own.arrival_accession) | (other.arrival_issuer != own.arrival_issuer),
        )
        .limit(1)
    )


def shares_bytes(session: Session, case_id: str) -> bool:
    """Whether a field of this case that may still be reported has its bytes in another case that is not closed."""
    mine = aliased(schema.Field)
    query = (
        select(schema.Field.field_id)
        .join(mine, mine.sha256 == schema.Field.sha256)
        .join(schema.Case, schema.Case.case_id == schema.Field.case_id)
        .where(
            mine.case_id == case_id,
            mine.state != FieldState.QUARANTINED,
            schema.Field.case_id != case_id,
            schema.Field.state != FieldState.QUARANTINED,
            schema.Case.state.not_in(CLOSED_CASES),
        )
        .limit(1)
    )
    return session.scalar(query) is not None
