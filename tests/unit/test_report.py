"""The report for people: what it says, that no text of it is read as markup, and that the PDF can be archived."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flows.report_pdf import report_pdf
from flows.report_pictures import galleries, sureness
from sphero_core.report.content import DECISION_SUPPORT, ReportContent, ShownPicture, VersionLine
from sphero_core.report.html import report_html
from sphero_core.report.interval_drawing import interval_svg
from sphero_core.types import CaseCounts, Cell, CellClass, CellMeasures
from tests.support import peer

MADE = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
JPEG = cv2.imencode(".jpg", np.full((24, 24, 3), 190, np.uint8))[1].tobytes()
HOSTILE = '<script>alert("x")</script> #panic("y") $z$ \\ @ref *bold* [['
SIGNED = ReportContent(
    laboratory="Haematology",
    status="Final",
    verified=True,
    version="2",
    made="2026-11-23 10:15 UTC",
    identifiers=(("Patient", HOSTILE), ("Patient identifier", "123456 HOSP"), ("Accession number", "26-00412")),
    counts=CaseCounts(1842, 62, 3.366, (2.63, 4.29), 5, ("No scale in micrometres is known.",)),
    grade="1+",
    cut_offs=(("1+", 2.0), ("2+", 10.0)),
    reviewer="Anna Prüfer (apruefer)",
    comment=HOSTILE,
    certain=(ShownPicture(JPEG, "3.17", "0.98 sph."),),
    doubtful=(ShownPicture(JPEG, "1.2", "0.51 other"),),
    overlays=tuple(ShownPicture(JPEG, f"Field {number}", HOSTILE) for number in range(1, 12)),
    quality=("Field 4 is not counted: out of focus",),
    model=(("Model bundle", "first 0.3"), ("SHA-256", "ab" * 32)),
    versions=(
        VersionLine("1", "Preliminary", "today", "Software", "3.4 %"),
        VersionLine("2", "Final", "now", HOSTILE, ""),
    ),
)
PRELIMINARY = replace(SIGNED, status="Preliminary", verified=False, reviewer="", comment="")
NOTHING = replace(
    PRELIMINARY, status="No result", counts=None, grade="", not_obtained="every field was refused\nblurred"
)


def pdf_pages(tmp_path: Path, content: ReportContent) -> list[str]:
    """The text of each page."""
    tool = peer("poppler", "pdftotext", remedy="apt-get install poppler-utils")
    file = tmp_path / "report.pdf"
    file.write_bytes(report_pdf(content, MADE))
    text = subprocess.run([tool, "-layout", file, "-"], check=True, capture_output=True, text=True, timeout=60).stdout
    return text.split("\f")[:-1]


def test_no_text_of_the_page_is_markup_and_nothing_is_loaded() -> None:
    page = report_html(SIGNED)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert set(re.findall(r'(?:src|href)="(\w+:)', page)) == {"data:"}
    assert "default-src 'none'" in page


WITHDRAWN = replace(NOTHING, status="Withdrawn: wrong patient", withdrawn=True, not_obtained="", reviewer="Anna Prüfer")


@pytest.mark.parametrize("content", [SIGNED, PRELIMINARY, NOTHING, WITHDRAWN], ids=lambda content: content.status)
def test_the_page_says_what_stands_behind_the_result(content: ReportContent) -> None:
    page = report_html(content)
    assert ("NOT VERIFIED BY A PERSON" in page) is not (content.verified or content.withdrawn)
    assert content.finding in page
    assert DECISION_SUPPORT in page
    for word in ("123456 HOSP", "26-00412", "ab" * 32, "out of focus"):
        assert word in page
    assert ("Anna Prüfer" in page) is bool(content.reviewer)


def test_the_pdf_is_pdf_a_2b_with_embedded_fonts_and_the_same_bytes_again() -> None:
    made = report_pdf(SIGNED, MADE)
    assert made.startswith(b"%PDF-")
    assert b"<pdfaid:part>2</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>" in made
    assert made == report_pdf(SIGNED, MADE)
    assert made != report_pdf(PRELIMINARY, MADE)


def test_each_page_of_what_nobody_signed_says_so(tmp_path: Path) -> None:
    pages = pdf_pages(tmp_path, PRELIMINARY)
    assert len(pages) > 1
    assert all("PRELIMINARY - NOT VERIFIED BY A PERSON" in page for page in pages)
    assert all("123456 HOSP" in page and "26-00412" in page for page in pages), "no page without its patient"


def test_a_signed_pdf_names_who_signed_and_reads_no_text_as_markup(tmp_path: Path) -> None:
    text = " ".join(" ".join(pdf_pages(tmp_path, SIGNED)).split())
    assert "NOT VERIFIED" not in text
    assert "Signed by Anna Prüfer (apruefer)" in text
    assert "Spherocytes 3.4 % of red cells, grade 1+" in text
    assert '<script>alert("x")</script> #panic("y") $z$' in text


def test_without_a_result_the_reasons_stand_in_its_place(tmp_path: Path) -> None:
    text = " ".join(pdf_pages(tmp_path, NOTHING))
    assert "No result" in text
    assert "every field was refused" in text


@pytest.mark.parametrize(
    ("percent", "interval", "top"), [(0.0, (0.0, 0.4), 5), (3.4, (2.6, 4.3), 5), (97.0, (93.0, 99.0), 100)]
)
def test_the_interval_is_drawn_to_scale(percent: float, interval: tuple[float, float], top: float) -> None:
    drawing = interval_svg(percent, interval, SIGNED.cut_offs)
    (centre,) = re.findall(r'<circle cx="([\d.]+)"', drawing)
    low, high = re.findall(r'<line x1="([\d.]+)" y1="42" x2="([\d.]+)" y2="42"', drawing)[0]
    scale = 600 / top
    assert float(centre) == pytest.approx(20 + percent * scale, abs=0.1)
    assert float(low) == pytest.approx(20 + interval[0] * scale, abs=0.1)
    assert float(high) == pytest.approx(20 + interval[1] * scale, abs=0.1)


def test_a_cell_in_doubt_is_not_among_the_surest() -> None:
    field: Any = None  # only looked at when its picture is cut
    red = [
        (field, number, Cell(cell_class, score, 0.97, 0, 0, np.ones((2, 2), np.bool_)))
        for number, (cell_class, score) in enumerate(
            [
                (CellClass.SPHEROCYTE, 0.81),
                (CellClass.SPHEROCYTE, 0.74),
                (CellClass.RBC, 0.55),
                (CellClass.RBC, 0.96),
            ],
            start=1,
        )
    ]
    surest, unsure = galleries(red)
    assert [number for _, number, _ in surest] == [1]
    assert [number for _, number, _ in unsure] == [3, 2]


def test_the_gallery_goes_by_tenths_of_probability_and_then_by_roundness() -> None:
    measured = CellMeasures(*[1.0] * 10)
    drawn_out, round_one, doubtful, cut_open = (
        Cell(CellClass.SPHEROCYTE, score, 0.97, 0, 0, np.ones((2, 2), np.bool_), measures=measures)
        for score, measures in (
            (0.93, replace(measured, circularity=0.78)),
            (0.91, replace(measured, circularity=0.95)),
            (0.88, replace(measured, circularity=0.99)),
            (0.94, replace(measured, circularity=float("nan"))),
        )
    )
    ordered = sorted([drawn_out, cut_open, doubtful, round_one], key=sureness, reverse=True)
    assert [cell.score for cell in ordered] == [0.91, 0.93, 0.94, 0.88]
