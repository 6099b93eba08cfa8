"""What DICOM instances say of themselves, and which field came from which instance.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

from dataclasses import asdict, fields

from sqlalchemy import select

from db import schema
from db.context import Context
from db.header_schema import InstanceHeader
from db.header_views import FieldSourceView, InstanceHeaderView
from db.instance_schema import Instance
from db.states import InstanceState

_COLUMNS = tuple(one.name for one in fields(InstanceHeaderView))


class Headers:
    """The headers within one transaction (`UnitOfWork.headers`)."""

    def __init__(self, context: Context) -> None:
        self._session = context.session

    def record(self, instance_id: str, header: InstanceHeaderView) -> None:
        """Keep what an instance says of itself; it never changes, so that the first time counts."""
        if self._session.get(InstanceHeader, instance_id) is None:
            self._session.add(InstanceHeader(instance_id=instance_id, **asdict(header)))
            self._session.flush()

    def get(self, instance_id: str) -> InstanceHeaderView | None:
        """Return what an instance says of itself, or None where it was not read."""
        row = self._session.get(InstanceHeader, instance_id)
        return None if row is None else _view(row)

    def of_case(self, case_id: str) -> tuple[FieldSourceView, ...]:
        """Return where the fields of a case come from, in the order they came; fields of plain images are not in it."""
        query = (
            select(schema.Field.field_id, schema.Field.frame, Instance, InstanceHeader)
            .join(Instance, Instance.sha256 == schema.Field.sha256)
            .join(InstanceHeader, InstanceHeader.instance_id == Instance.instance_id)
            .where(schema.Field.case_id == case_id, Instance.state != InstanceState.CONFLICT)
            .order_by(schema.Field.number)
        )
        return tuple(
            FieldSourceView(
                field_id,
                instance.instance_id,
                instance.sop_class_uid,
                instance.sop_instance_uid,
                instance.transfer_syntax_uid,
                frame,
                _view(header),
                instance.calling_ae,
            )
            for field_id, frame, instance, header in self._session.execute(query)
        )

    def cases_of_study(self, study_uid: str) -> tuple[str, ...]:
        """Return the cases, those that are rejected left out, that have fields of a study."""
        query = (
            select(Instance.case_id)
            .join(InstanceHeader, InstanceHeader.instance_id == Instance.instance_id)
            .join(schema.CaseIdentity, schema.CaseIdentity.case_id == Instance.case_id)
            .where(InstanceHeader.study_uid == study_uid, schema.CaseIdentity.active)
            .distinct()
            .order_by(Instance.case_id)
        )
        return tuple(case_id for case_id in self._session.scalars(query) if case_id is not None)


def _view(row: InstanceHeader) -> InstanceHeaderView:
    return InstanceHeaderView(**{name: getattr(row, name) for name in _COLUMNS})
