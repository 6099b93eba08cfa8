"""The report as PDF/A-2b (ISO 19005-2), A4: Typst lays it out with the fonts it brings, which are embedded; no network, no system font.

The content travels as JSON beside the layout (``report.typ``), so that no text of it can be read as markup.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import typst

from sphero_core.report.content import DECISION_SUPPORT, LEGEND, SUREST, TITLE, UNSURE, ReportContent, ShownPicture
from sphero_core.report.interval_drawing import interval_svg

STANDARD: Literal["a-2b"] = "a-2b"
MAIN = "main.typ"


def report_pdf(content: ReportContent, made_at: datetime) -> bytes:
    """Lay a report out as PDF/A-2b.

    Parameters
    ----------
    content : ReportContent
    made_at : datetime
        When the version was made, aware: the PDF's date, so that the same content gives the same bytes.

    Raises
    ------
    RuntimeError
        The layout cannot be made: a fault of the program.
    """
    files: dict[str, bytes] = {MAIN: resources.files("sphero_core.report").joinpath("report.typ").read_bytes()}
    document = _document(content, made_at, files)
    files["data.json"] = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    with tempfile.TemporaryDirectory(prefix="sphero-report-") as folder:  # for its owner only
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        return typst.compile(
            str(Path(folder) / MAIN),
            root=folder,
            format="pdf",
            ignore_system_fonts=True,
            pdf_standards=STANDARD,
            timestamp=int(made_at.timestamp()),
        )


def _document(content: ReportContent, made_at: datetime, files: dict[str, bytes]) -> dict[str, Any]:
    """The content as the layout reads it; pictures go into `files`."""
    counts, interval = content.counts, None
    if counts is not None and counts.ci95 is not None and counts.spherocyte_percent is not None:
        interval = "interval.svg"
        files[interval] = interval_svg(counts.spherocyte_percent, counts.ci95, content.cut_offs).encode()
    identifiers, figures = [list(row) for row in content.identifiers], [list(row) for row in content.figures]
    omitted = content.omitted_overlays
    return {
        "title": TITLE,
        "laboratory": content.laboratory,
        "status": content.status,
        "banner": content.banner,
        "running": content.running,
        "legend": LEGEND,
        "surest": SUREST,
        "unsure": UNSURE,
        "version": content.version,
        "made": content.made,
        "date": [made_at.year, made_at.month, made_at.day],
        "identifiers": identifiers,
        "half": (len(identifiers) + 1) // 2,
        "finding": content.finding,
        "detection": content.detection,
        "interval": interval,
        "figures": figures,
        "figures_half": (len(figures) + 1) // 2,
        "reasons": content.not_obtained.splitlines(),
        "grade_note": content.grade_note,
        "signed": "Signed by" if content.verified else "Closed by",
        "reviewer": content.reviewer,
        "comment": content.comment,
        "support": DECISION_SUPPORT,
        "remarks": list(content.remarks),
        "quality": list(content.quality),
        "certain": _pictures("certain", content.certain, files),
        "doubtful": _pictures("doubtful", content.doubtful, files),
        "overlays": _pictures("overlay", content.overlays, files),
        "omitted": f"{omitted} further fields are not pictured here." if omitted else "",
        "versions": [[each.version, each.status, each.made, each.by, each.finding] for each in content.versions],
        "model": [list(row) for row in content.model],
    }


def _pictures(kind: str, pictures: Sequence[ShownPicture], files: dict[str, bytes]) -> list[dict[str, str]]:
    listed = []
    for number, picture in enumerate(pictures):
        name = f"{kind}-{number}.jpg"
        files[name] = picture.jpeg
        listed.append({"file": name, "label": picture.label, "caption": picture.caption})
    return listed
