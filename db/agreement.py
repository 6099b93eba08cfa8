"""Whether what a case says of itself and what an order says agree. Pure comparisons; a doubt is a contradiction."""

from __future__ import annotations

from collections.abc import Sequence

from db.order_views import PatientData, PatientIdentifier
from db.views import Identity

_TOLD = ("M", "F")  # of table 0001 the two that contradict each other; the others may stand for either


def same_issuer(one: str | None, other: str | None) -> bool:
    """Whether two issuers may be the same: one that is not named may be any."""
    return not one or not other or one == other


def other_patient(identity: Identity, patient: PatientData, identifiers: Sequence[PatientIdentifier]) -> bool:
    """Whether a case belongs to another patient than an order.

    Parameters
    ----------
    identity : Identity
        What the case says of itself.
    patient : PatientData
        The order's.
    identifiers : sequence of PatientIdentifier
        All that lead to this patient, those of earlier merges included.
    """
    if identity.patient_id is not None and not any(
        each.value == identity.patient_id and same_issuer(each.authority, identity.patient_issuer)
        for each in identifiers
    ):
        return True
    if identity.birth_date and patient.birth_date:
        common = min(len(identity.birth_date), len(patient.birth_date))
        if identity.birth_date[:common] != patient.birth_date[:common]:
            return True
    told = (identity.sex, patient.sex)
    return all(sex in _TOLD for sex in told) and told[0] != told[1]


def other_number(one: str | None, other: str | None) -> bool:
    """Whether two order numbers differ; one that is not named does not."""
    return bool(one) and bool(other) and one != other
