"""Accepted DICOM instances: one content a SOP instance UID, and what became of it.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite

from db import schema
from db.context import Context
from db.errors import NotFound
from db.instance_schema import FIRST, Instance
from db.instance_views import InstanceOutcome, InstanceView, ReceivedInstance
from db.states import CLOSED_CASES, INSTANCE_MOVES, HoldReason, InstanceState, check_move

_MANY = 500  # values in one query
_TABLE = cast("Table", Instance.__table__)
# Made once: the statement of every instance that comes. By whether it is for PostgreSQL. No index is named, so that all of them count: where one
# is, two that bring the same bytes at once can meet at another (UID and hash) first, and the later is refused instead of told.
_FIRST_ONE = {
    postgres: insert(_TABLE).on_conflict_do_nothing().returning(_TABLE.c.position)
    for postgres, insert in ((False, sqlite.insert), (True, postgresql.insert))
}


class Instances:
    """The instances within one transaction (`UnitOfWork.instances`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def receive(
        self,
        *,
        sop_instance_uid: str,
        sop_class_uid: str,
        transfer_syntax_uid: str,
        sha256: str,
        size_bytes: int,
        stored_name: str,
        source: str,
        calling_ae: str | None = None,
        study_uid: str | None = None,
        series_uid: str | None = None,
    ) -> ReceivedInstance:
        """Record an instance whose file is safe in our store.

        The same bytes under the same UID are found again, and nothing is written. Other bytes under a UID that is known
        are a conflict: they are recorded beside the first, and the case that the first belongs to is held; where it
        belongs to none yet, `assembled` holds it. `db.instance_views.InstanceView` explains the values.

        Raises
        ------
        ConstraintBroken
            A UID is longer than 64 characters, or the like.
        """
        values: dict[str, Any] = {
            "instance_id": self._context.new_id(),
            "sop_instance_uid": sop_instance_uid,
            "sop_class_uid": sop_class_uid,
            "transfer_syntax_uid": transfer_syntax_uid,
            "study_uid": study_uid,
            "series_uid": series_uid,
            "sha256": sha256,
            "size_bytes": size_bytes,
            "stored_name": stored_name,
            "source": source,
            "calling_ae": calling_ae,
            "state": InstanceState.RECEIVED,
            "received_at": self._context.clock(),
        }
        # Another transaction that records the same UID is waited for: each then sees what the other did.
        postgres = self._session.get_bind().dialect.name == "postgresql"
        position = self._session.execute(_FIRST_ONE[postgres], values).scalar_one_or_none()
        if position is not None:
            detail = {"instance": values["instance_id"], "sha256": sha256, "source": source}
            self._context.audit("instance received", None, **detail)
            nothing_yet: dict[str, Any] = {"reason": None, "case_id": None, "settled_at": None}
            return ReceivedInstance(InstanceOutcome.NEW, InstanceView(position=position, **values, **nothing_yet))
        row = self._session.scalars(select(Instance).where(Instance.sop_instance_uid == sop_instance_uid, FIRST)).one()
        if row.sha256 == sha256:
            return ReceivedInstance(InstanceOutcome.REPEATED, instance_view(row))
        insert = postgresql.insert if postgres else sqlite.insert
        return self._conflict(row, insert, {**values, "state": InstanceState.CONFLICT})

    def assembled(
        self, instance_id: str, case_id: str, *, study_uid: str | None = None, series_uid: str | None = None
    ) -> None:
        """Say that the fields of an instance joined a case; where other bytes came under its UID, the case is held.

        Raises
        ------
        IllegalMove
            The instance was refused, or is a conflict.
        NotFound
        """
        case = self._context.lock_case(case_id)
        row = self._lock(instance_id)
        if row.state is InstanceState.ASSEMBLED and row.case_id == case_id:
            return
        check_move(INSTANCE_MOVES, row.state, InstanceState.ASSEMBLED)
        row.state, row.case_id, row.settled_at = InstanceState.ASSEMBLED, case_id, self._context.clock()
        row.study_uid, row.series_uid = study_uid or row.study_uid, series_uid or row.series_uid
        self._context.audit("instance assembled", case_id, instance=instance_id)
        if self._others(row.sop_instance_uid):
            self._hold(case)

    def refuse(self, instance_id: str, reason: str) -> None:
        """Say that an instance cannot be used; its file is kept.

        Parameters
        ----------
        reason : str
            In words, without personal data.

        Raises
        ------
        IllegalMove
            It was assembled already, or is a conflict.
        NotFound
        """
        row = self._lock(instance_id)
        if row.state is InstanceState.REFUSED:
            return
        check_move(INSTANCE_MOVES, row.state, InstanceState.REFUSED)
        row.state, row.reason, row.settled_at = InstanceState.REFUSED, reason, self._context.clock()
        self._context.audit("instance refused", None, instance=instance_id, reason=reason)

    # ----------------------------------------------------------------------------------------------------------- views
    def waiting(self, *, limit: int = 100, but_from: str | None = None) -> tuple[InstanceView, ...]:
        """Return instances of which nothing became yet, those from one source left out, in the order they came."""
        query = select(Instance).where(Instance.state == InstanceState.RECEIVED).order_by(Instance.position)
        if but_from is not None:
            query = query.where(Instance.source != but_from)
        return tuple(instance_view(row) for row in self._session.scalars(query.limit(limit)))

    def get(self, instance_id: str) -> InstanceView:
        """Return one instance.

        Raises
        ------
        NotFound
        """
        row = self._session.scalar(select(Instance).where(Instance.instance_id == instance_id))
        if row is None:
            raise NotFound("no instance has this id")
        return instance_view(row)

    def find(self, sop_instance_uid: str) -> InstanceView | None:
        """Return the instance that stands for a UID."""
        return next(iter(self.standing([sop_instance_uid])), None)

    def standing(self, sop_instance_uids: Collection[str]) -> tuple[InstanceView, ...]:
        """Return the instances that stand for these UIDs, as far as they are known, in the order they came."""
        wanted = sorted(set(sop_instance_uids))
        found: list[Instance] = []
        for begin in range(0, len(wanted), _MANY):
            uids = wanted[begin : begin + _MANY]
            query = select(Instance).where(Instance.sop_instance_uid.in_(uids), FIRST)
            found += self._session.scalars(query)
        return tuple(instance_view(row) for row in sorted(found, key=lambda row: row.position))

    def conflicting(self, sop_instance_uid: str) -> tuple[InstanceView, ...]:
        """Return what else came under a UID."""
        return tuple(instance_view(row) for row in self._others(sop_instance_uid))

    def of_case(self, case_id: str) -> tuple[InstanceView, ...]:
        """Return the instances whose fields joined a case, in the order they came."""
        query = select(Instance).where(Instance.case_id == case_id).order_by(Instance.position)
        return tuple(instance_view(row) for row in self._session.scalars(query))

    def list(self, state: InstanceState | None = None, *, limit: int = 1000) -> tuple[InstanceView, ...]:
        """Return instances in one state (None: in any), the latest first."""
        query = select(Instance).order_by(Instance.position.desc()).limit(limit)
        if state is not None:
            query = query.where(Instance.state == state)
        return tuple(instance_view(row) for row in self._session.scalars(query))

    # ---------------------------------------------------------------------------------------------------------- inside
    def _conflict(self, first: Instance, insert: Any, values: dict[str, Any]) -> ReceivedInstance:
        """Record other bytes under a known UID, and hold the case of the first."""
        # Case before instance, as everywhere; with the row locked nobody assembles it without seeing the conflict.
        case = None if first.case_id is None else self._context.lock_case(first.case_id)
        first = self._lock(first.instance_id)
        if case is None and first.case_id is not None:
            case = self._context.lock_case(first.case_id)
        pair = ["sop_instance_uid", "sha256"]
        self._session.execute(insert(Instance).values(values).on_conflict_do_nothing(index_elements=pair))
        query = select(Instance).where(
            Instance.sop_instance_uid == first.sop_instance_uid, Instance.sha256 == values["sha256"]
        )
        row = self._session.scalars(query).one()
        if row.instance_id == values["instance_id"]:
            detail = {"instance": row.instance_id, "first": first.instance_id, "sha256": row.sha256}
            self._context.audit("instance conflicts", first.case_id, **detail)
            if case is not None:
                self._hold(case)
        return ReceivedInstance(InstanceOutcome.CONFLICT, instance_view(row))

    def _hold(self, case: schema.Case) -> None:
        if case.state not in CLOSED_CASES:
            self._context.hold_case(case, HoldReason.CONFLICT)

    def _others(self, sop_instance_uid: str) -> tuple[Instance, ...]:
        query = select(Instance).where(
            Instance.sop_instance_uid == sop_instance_uid, Instance.state == InstanceState.CONFLICT
        )
        return tuple(self._session.scalars(query.order_by(Instance.position)))

    def _lock(self, instance_id: str) -> Instance:
        query = select(Instance).where(Instance.instance_id == instance_id).with_for_update()
        row = self._session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            raise NotFound("no instance has this id")
        return row


def instance_view(row: Instance) -> InstanceView:
    """From a row to a value."""
    return InstanceView(
        instance_id=row.instance_id,
        position=row.position,
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        study_uid=row.study_uid,
        series_uid=row.series_uid,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        stored_name=row.stored_name,
        source=row.source,
        calling_ae=row.calling_ae,
        state=row.state,
        reason=row.reason,
        case_id=row.case_id,
        received_at=row.received_at,
        settled_at=row.settled_at,
    )
