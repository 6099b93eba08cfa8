"""The table of what a policy took away of which case, so that it is known to be gone and not missing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import words
from db.schema import Base
from db.states import Removable


class RemovalRow(Base):
    """One kind of thing of one case: decided when it begins, done when all of it is gone."""

    __tablename__ = "removals"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    kind: Mapped[Removable] = mapped_column(words(Removable), primary_key=True)
    policy_days: Mapped[int]
    begun_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    items: Mapped[int | None]
