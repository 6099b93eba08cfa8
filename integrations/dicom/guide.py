"""What is read of DICOM, as tables for people: `deploy/docs/dicom.md` holds them, and a test compares the two."""

from __future__ import annotations

from integrations.dicom.catalogue import COLOUR_SPACES, IMAGE_CLASSES, SYNTAXES, WHOLE_SLIDE
from integrations.dicom.limits import DEFAULT_LIMITS


def reading_tables() -> str:
    """Classes, transfer syntaxes, colours and limits, in Markdown."""
    limits = DEFAULT_LIMITS
    lines = ["| SOP class | UID |", "| --- | --- |"]
    for uid, name in IMAGE_CLASSES.items():
        only = ": single-frame levels that are one field, never labels or overviews" if uid == WHOLE_SLIDE else ""
        lines.append(f"| {name}{only} | {uid} |")
    lines += ["", "| transfer syntax | UID | decoder |", "| --- | --- | --- |"]
    lines += [f"| {syntax.name} | {uid} | {syntax.decoder} |" for uid, syntax in SYNTAXES.items()]
    lines += ["", "| read | |", "| --- | --- |"]
    lines += [
        f"| photometric interpretations | {', '.join(COLOUR_SPACES)} |",
        "| bits | 8 or 16 allocated, unsigned; more than 8 stored are scaled by Bits Stored |",
        (
            f"| frames of one object | up to {limits.max_frames:,}, each up to {limits.max_pixels:,} pixels and "
            f"{limits.max_side:,} a side; {limits.max_all_pixels:,} pixels together |"
        ),
        f"| size of one object | up to {limits.max_bytes:,} bytes, after inflating, too |",
        f"| elements | up to {limits.max_elements:,}, in up to {limits.max_depth} sequences within each other |",
    ]
    return "\n".join(lines) + "\n"
