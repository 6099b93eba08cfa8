"""`sphero analyze`: images in, numbers and pictures out; no database, no workflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sphero_core.bundle import load_bundle
from sphero_core.case import FieldSource, analyse_case, sources_of
from sphero_core.detector import load_detector
from sphero_core.errors import SpheroCoreError
from sphero_core.exports import FieldRecord, summary_document, write_exports
from sphero_core.render import draw_overlay
from sphero_core.statistics import count_case
from sphero_core.types import CaseCounts, FieldFindings, FieldImage

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})


class NothingToAnalyze(SpheroCoreError):
    """The paths given hold no image."""


def collect(paths: Sequence[Path]) -> list[Path]:
    """The image files that paths name: files as given, folders with everything below them, sorted.

    Raises
    ------
    NothingToAnalyze
        A path does not exist, or no image is below any.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(p for p in path.rglob("*") if p.suffix.casefold() in SUFFIXES and p.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise NothingToAnalyze(f"{path} does not exist; name image files or a folder of them")
    if not files:
        raise NothingToAnalyze(f"no image in {', '.join(map(str, paths))}; {', '.join(sorted(SUFFIXES))} are read")
    return files


def analyze(
    paths: Sequence[Path], out: Path, bundle: Path, *, um_per_pixel: float | None, pixel_aspect: float, quiet: bool
) -> dict[str, object]:
    """Analyse all images as one case and write ``summary.json``, ``cells.csv``, ``coco.json`` and the overlays.

    Returns
    -------
    dict
        The content of ``summary.json``.
    """
    sources = [
        source
        for file in collect(paths)
        for source in sources_of(file, pixel_aspect=pixel_aspect, um_per_pixel=um_per_pixel)
    ]
    loaded = load_bundle(bundle)
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=quiet, transient=True) as progress:
        loading = progress.add_task("loading the model", total=None)
        detector = load_detector(loaded)
        progress.remove_task(loading)
        task = progress.add_task("fields", total=len(sources))

        def draw(source: FieldSource, image: FieldImage, findings: FieldFindings) -> None:
            _write_overlay(out / f"{_overlay_name(source, sources)}.png", source, image, findings)
            progress.advance(task)

        records = analyse_case(detector, sources, draw)
    counts = count(records, um_per_pixel)
    write_exports(out, loaded.id, records, counts)
    return summary_document(loaded.id, records, counts)


def count(records: Sequence[FieldRecord], um_per_pixel: float | None) -> CaseCounts:
    """Counts of a case over the fields that could be read."""
    return count_case([r.findings for r in records if r.findings is not None], um_per_pixel=um_per_pixel)


def _overlay_name(source: FieldSource, sources: Sequence[FieldSource]) -> str:
    """Name of a field's overlay: that of its file, numbered where several files have the same name."""
    stem = f"{source.path.stem}" if source.label == source.path.name else f"{source.path.stem}-{source.frame + 1}"
    alike = [s for s in sources if (s.path.stem, s.frame) == (source.path.stem, source.frame)]
    return stem if len(alike) == 1 else f"{stem}_{alike.index(source) + 1}"


def _write_overlay(path: Path, source: FieldSource, image: FieldImage, findings: FieldFindings) -> None:
    overlay = draw_overlay(image, findings, um_per_pixel=source.um_per_pixel)
    cv2.imwrite(str(path), cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
