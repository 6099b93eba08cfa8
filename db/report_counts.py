"""The numbers of a report as columns of its row, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from db import schema
from db.context import canonical_json
from sphero_core.types import CaseCounts, CaseStatistics, Grading


def counts_columns(counts: CaseCounts) -> dict[str, Any]:
    """The columns that hold a case's counts."""
    grading, statistics = counts.grading, counts.statistics
    behind = {
        "grading": None if grading is None else asdict(grading),
        "statistics": None if statistics is None else asdict(statistics),
    }
    return {
        "red_cells": counts.red_cells,
        "spherocytes": counts.spherocytes,
        "spherocyte_percent": counts.spherocyte_percent,
        "ci95_low": counts.ci95[0] if counts.ci95 else None,
        "ci95_high": counts.ci95[1] if counts.ci95 else None,
        "counted_fields": counts.fields,
        "limitations": canonical_json(counts.limitations),
        "grade": grading.grade if grading else None,
        "grade_scheme": grading.scheme if grading else None,
        "detected": grading.detected if grading else None,
        "statistics": canonical_json(behind) if grading or statistics else None,
    }


def counts_of(row: schema.Report) -> CaseCounts:
    """A case's counts from the columns of its report; what earlier versions did not keep is None."""
    behind = json.loads(row.statistics) if row.statistics else {}
    return CaseCounts(
        red_cells=row.red_cells,
        spherocytes=row.spherocytes,
        spherocyte_percent=row.spherocyte_percent,
        ci95=None if row.ci95_low is None or row.ci95_high is None else (row.ci95_low, row.ci95_high),
        fields=row.counted_fields,
        limitations=tuple(json.loads(row.limitations)),
        grading=Grading(**_with_tuples(behind["grading"])) if behind.get("grading") else None,
        statistics=CaseStatistics(**_with_tuples(behind["statistics"])) if behind.get("statistics") else None,
    )


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Lists of JSON as the tuples they were."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
