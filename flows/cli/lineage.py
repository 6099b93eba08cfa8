"""Where results come from and what became of them, as `sphero case show` tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from db.lineage import LineageView, SourceView
    from db.session import UnitOfWork


def lineage_rows(work: UnitOfWork, case_id: str) -> list[dict[str, Any]]:
    """One row for each message of a case, as JSON tells it."""
    return [_row(each) for each in work.objects.lineage(case_id)]


def as_text(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows for a table: several sources are counted, for they stand among the fields."""
    return [
        {
            name: value
            for key, whole in row.items()
            for name, value in (_sources(whole).items() if key == "sources" else [(key, whole)])
        }
        for row in rows
    ]


def _row(each: LineageView) -> dict[str, Any]:
    return {
        "version": each.revision,
        "status": each.report_status,
        "to": each.destination,
        "object": each.kind or "hl7",
        "sources": [_source(source) for source in each.sources],
        "model hash": each.bundle_sha256 or None,
        "result SOP UID": each.result_uid,
        "result hash": each.result_sha256,
        "replaces": each.replaces,
        "control id": each.control_id,
        "state": each.state.value,
        "answer": each.answer,
        "delivered": each.delivered_at,
        "committed": each.commitment.value if each.commitment else None,
    }


def _source(source: SourceView) -> dict[str, Any]:
    return {"field": source.field, "SOP UID": source.sop_instance_uid, "frame": source.frame, "hash": source.sha256}


def _sources(sources: list[dict[str, Any]]) -> dict[str, Any]:
    one = sources[0] if len(sources) == 1 else None
    many = f"of {len(sources)} fields"
    return {"source SOP UID": one["SOP UID"] if one else many, "source hash": one["hash"] if one else many}
