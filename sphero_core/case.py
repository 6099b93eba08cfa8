"""A whole case, from files to counted findings: what the service does, without its database and its workflows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sphero_core.analysis import analyse_field
from sphero_core.detector import Detector
from sphero_core.errors import ImageError, UnsupportedImage
from sphero_core.exports import FieldRecord
from sphero_core.image import probe_image, read_image, read_reduced
from sphero_core.morphology import relate_to_case
from sphero_core.quality import DEFAULT_LIMITS, QualityLimits, assess_field
from sphero_core.scale import case_cell_diameter, measure_cell_diameters
from sphero_core.tiling import reduction_for
from sphero_core.types import FieldFindings, FieldImage, Quality

#: Why a field is refused in which, or in whose case, no red cell can be measured.
NO_SCALE = "no red cells were found to set the scale by: blank, out of focus, or not a blood smear"


@dataclass(frozen=True, slots=True)
class FieldSource:
    """Where a field's pixels are.

    Attributes
    ----------
    path : Path
    label : str
        Name under which it is listed; of the caller's choice.
    frame : int
        Page of a TIFF, from 0.
    pixel_aspect : float
        Display width over height of one stored pixel.
    um_per_pixel : float or None
        In true proportion.
    sha256 : str or None
        Of the file that the pixels were decoded from, hex; None: of `path` itself.
    refusal : str or None
        Why there are no pixels to be read.
    """

    path: Path
    label: str
    frame: int = 0
    pixel_aspect: float = 1.0
    um_per_pixel: float | None = None
    sha256: str | None = None
    refusal: str | None = None


OnField = Callable[[FieldSource, FieldImage, FieldFindings], None]


def sources_of(path: Path, *, pixel_aspect: float = 1.0, um_per_pixel: float | None = None) -> list[FieldSource]:
    """The fields of one file: one, or one a page of a TIFF. A file that cannot be read is one source, refused later."""
    try:
        frames = probe_image(path).frames
    except ImageError:
        frames = 1
    return [
        FieldSource(path, path.name if frames == 1 else f"{path.name}#{i + 1}", i, pixel_aspect, um_per_pixel)
        for i in range(frames)
    ]


def measure_case(sources: Sequence[FieldSource]) -> float | None:
    """Median cell diameter over a case's fields, in pixels of a field in true proportion; None without red cells.

    Files that cannot be read are passed over here and refused by `analyse_source`.
    """
    measured = []
    for source in sources:
        if source.refusal is not None:
            continue
        try:
            reduced = read_reduced(source.path, frame=source.frame, pixel_aspect=source.pixel_aspect)
        except ImageError:
            continue
        measured.append(measure_cell_diameters(reduced.pixels) * reduced.factor)
    return case_cell_diameter(measured)


def analyse_source(
    detector: Detector,
    source: FieldSource,
    cell_diameter_px: float | None,
    limits: QualityLimits = DEFAULT_LIMITS,
) -> tuple[FieldImage, FieldFindings]:
    """Read one field, at half its size or less where its cells are that large, and find its cells.

    A field that breaks a limit of quality has none and says why.

    Raises
    ------
    ImageError
        The file is no image that can be analysed.
    """
    if source.refusal is not None:
        raise UnsupportedImage(source.refusal)
    reduction = 1 if cell_diameter_px is None else reduction_for(cell_diameter_px, detector.input)
    image = read_image(source.path, frame=source.frame, pixel_aspect=source.pixel_aspect, reduction=reduction)
    started = time.perf_counter()
    shown_diameter = None if cell_diameter_px is None else cell_diameter_px / image.reduction
    quality = assess_field(image.pixels, shown_diameter, limits)
    if cell_diameter_px is None:
        quality = Quality(accepted=False, reasons=quality.reasons or (NO_SCALE,))
    if cell_diameter_px is None or not quality.accepted:
        diameter = float("nan") if cell_diameter_px is None else cell_diameter_px
        seconds = time.perf_counter() - started
        return image, FieldFindings((), image.width, image.height, diameter, 0, seconds, quality=quality)
    return image, analyse_field(detector, image, cell_diameter_px)


def analyse_case(
    detector: Detector,
    sources: Sequence[FieldSource],
    on_field: OnField | None = None,
    limits: QualityLimits = DEFAULT_LIMITS,
) -> list[FieldRecord]:
    """Analyse every field of a case and relate the cells to the case's median red cell.

    Parameters
    ----------
    detector : Detector
    sources : sequence of FieldSource
    on_field : callable, optional
        Called after each field that was read, with its pixels, which are not kept.
    limits : QualityLimits
        What a field must keep to be counted.

    Returns
    -------
    list of FieldRecord
        One a source, in order; unreadable files with the reason.
    """
    diameter = measure_case(sources)
    records = []
    for source in sources:
        digest = source.sha256 or hashlib.sha256(source.path.read_bytes()).hexdigest()
        try:
            image, findings = analyse_source(detector, source, diameter, limits)
        except ImageError as error:
            records.append(FieldRecord(source.label, digest, None, None, source.um_per_pixel, None, str(error)))
            continue
        records.append(
            FieldRecord(source.label, digest, image.stored_width, image.stored_height, source.um_per_pixel, findings)
        )
        if on_field is not None:
            on_field(source, image, findings)
    related = iter(relate_to_case([r.findings for r in records if r.findings is not None]))
    return [record if record.findings is None else replace(record, findings=next(related)) for record in records]
