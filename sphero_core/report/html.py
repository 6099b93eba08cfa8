"""The report as one self-contained page of HTML: pictures within it, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from importlib import resources

from sphero_core.report.content import DECISION_SUPPORT, LEGEND, SUREST, TITLE, UNSURE, ReportContent, ShownPicture
from sphero_core.report.interval_drawing import interval_svg

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report_html(content: ReportContent) -> str:
    """Lay a report out as a page; every text is escaped."""
    style = resources.files("sphero_core.report").joinpath("report.css").read_text(encoding="utf-8")
    banner = f'<p class="banner">{escape(content.banner)}</p>' if content.banner else ""
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(TITLE)}</title><style>{style}</style></head><body>"
    )
    body = [
        head,
        banner,
        f"<main><header><h1>{escape(TITLE)}</h1><p>{escape(content.laboratory)}</p></header>",
        _facts(content.identifiers),
        _finding(content),
        _signature(content),
        f'<p class="support">{escape(DECISION_SUPPORT)}</p>',
        _bullets("Limitations", content.remarks),
        _bullets("Image quality", content.quality),
        _cells(SUREST, content.certain, LEGEND),
        _cells(UNSURE, content.doubtful, "" if content.certain else LEGEND),
        _overlays(content),
        _versions(content),
        f"<h2>Method</h2>{_facts(content.model)}",
        f"<footer>Version {escape(content.version)}, {escape(content.made)}</footer></main></body></html>\n",
    ]
    return "".join(body)


def _finding(content: ReportContent) -> str:
    counts, drawing = content.counts, ""
    if counts is not None and counts.ci95 is not None and counts.spherocyte_percent is not None:
        drawing = interval_svg(counts.spherocyte_percent, counts.ci95, content.cut_offs)
    reasons = "".join(f"<p>{escape(line)}</p>" for line in content.not_obtained.splitlines())
    note = f"<p>{escape(content.grade_note)}</p>" if content.grade_note else ""
    detection = f"<p>{escape(content.detection)}</p>" if content.detection else ""
    kind = "verified" if content.verified else "unverified"
    return (
        f'<section class="finding"><p class="status {kind}">{escape(content.status)}</p>'
        f'<p class="line">{escape(content.finding)}</p>{detection}{drawing}{_facts(content.figures)}{reasons}{note}</section>'
    )


def _signature(content: ReportContent) -> str:
    parts = []
    if content.reviewer:
        done = "Signed by" if content.verified else "Closed by"
        parts.append(f"<p><strong>{done}</strong> {escape(content.reviewer)}, {escape(content.made)}</p>")
    if content.comment:
        parts.append(f"<p><strong>Comment</strong> {escape(content.comment)}</p>")
    return "".join(parts)


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    inner = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)
    return f"<dl>{inner}</dl>" if rows else ""


def _bullets(title: str, lines: Sequence[str]) -> str:
    inner = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{inner}</ul>" if lines else ""


def _cells(title: str, pictures: Sequence[ShownPicture], legend: str = "") -> str:
    said = f'<p class="legend">{escape(legend)}</p>' if legend else ""
    inner = "".join(_figure(picture) for picture in pictures)
    return f'<h2>{escape(title)}</h2>{said}<div class="cells">{inner}</div>' if pictures else ""


def _overlays(content: ReportContent) -> str:
    if not content.overlays:
        return ""
    more = (
        f"<p>{content.omitted_overlays} further fields are not pictured here.</p>" if content.omitted_overlays else ""
    )
    return f'<h2>Fields</h2><div class="fields">{"".join(map(_figure, content.overlays))}</div>{more}'


def _figure(picture: ShownPicture) -> str:
    data = base64.b64encode(picture.jpeg).decode("ascii")
    return (
        f'<figure><img alt="{escape(picture.label)}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption><strong>{escape(picture.label)}</strong> {escape(picture.caption)}</figcaption></figure>"
    )


def _versions(content: ReportContent) -> str:
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(text)}</td>" for text in (v.version, v.status, v.made, v.by, v.finding))
        + "</tr>"
        for v in content.versions
    )
    names = "".join(f"<th>{name}</th>" for name in ("Version", "Status", "Made", "By", "Finding"))
    return f"<h2>Versions of this result</h2><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"
