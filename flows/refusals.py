"""Why a case has no result, in words that may leave: reasons only, no file names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from db.views import FieldResult, FieldView, QuarantineView

MOST_REASONS = 10
MOST_WORDS = 200


def why_nothing(fields: Sequence[FieldResult], refused: Sequence[FieldView], files: Sequence[QuarantineView]) -> str:
    """Say why no field of a case counts: one line, then one for each reason.

    Parameters
    ----------
    fields : sequence of FieldResult
        Those that were analysed.
    refused : sequence of FieldView
        Those that could not be analysed.
    files : sequence of QuarantineView
        Refused files that were to be fields.
    """
    if not fields and not refused and not files:
        return "no field of the case came"
    reasons = Counter("; ".join(result.findings.quality.reasons) for result in fields)
    reasons.update(field.reason or "" for field in refused)
    reasons.update(file.reason for file in files)
    told = reasons.most_common(MOST_REASONS)
    lines = [f"{'1 field' if count == 1 else f'{count} fields'}: {_short(reason)}" for reason, count in told]
    if rest := reasons.total() - sum(count for _, count in told):
        lines.append(f"{rest} more for other reasons")
    return "\n".join(["every field was refused", *lines])


def _short(reason: str) -> str:
    words = " ".join(reason.split()) or "not counted"
    return words if len(words) <= MOST_WORDS else words[: MOST_WORDS - 3] + "..."
