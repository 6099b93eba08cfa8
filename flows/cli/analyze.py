"""`sphero analyze`: images without database and Prefect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.analyze_dicom import decoded, is_dicom
from flows.cli.model import BundleOption, quiet_tensorflow
from flows.cli.output import AsJson, fail, print_json

if TYPE_CHECKING:
    from sphero_core.case import FieldSource
    from sphero_core.exports import FieldRecord
    from sphero_core.types import CaseCounts, FieldFindings, FieldImage

SUFFIXES = frozenset({".dcm", ".jpg", ".jpeg", ".png", ".tif", ".tiff"})

PixelAspect = Annotated[
    float,
    typer.Option(min=0.2, max=5.0, help="Display width over height of one stored pixel, for stretched images."),
]


def analyze(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images, or one folder of them: one case.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go; made if missing.")],
    um_per_pixel: Annotated[
        float | None,
        typer.Option(min=0.005, max=5.0, help="Micrometres per pixel; of DICOM files by default what they say."),
    ] = None,
    pixel_aspect: Annotated[
        float | None,
        typer.Option(
            min=0.2,
            max=5.0,
            help="Display width over height of one stored pixel, for stretched images; of DICOM files by default what they say.",
        ),
    ] = None,
    bundle: BundleOption = None,
    as_json: AsJson = False,
) -> None:
    """Analyse the images (JPEG, PNG, TIFF, DICOM) of one case; writes summary.json, cells.csv, coco.json and one overlay PNG for each field."""
    from flows.config import load_settings
    from sphero_core.bundle import load_bundle, resolve_bundle
    from sphero_core.case import analyse_case
    from sphero_core.detector import load_detector
    from sphero_core.exports import summary_document, write_exports
    from sphero_core.grading import GradingRule
    from sphero_core.statistics import count_case

    sources = find_sources(paths, pixel_aspect=pixel_aspect or 1.0, um_per_pixel=um_per_pixel)
    settings = load_settings()
    loaded = load_bundle(resolve_bundle(bundle or settings.model.bundle))
    out.mkdir(parents=True, exist_ok=True)
    from flows.cli.progress import shown

    quiet_tensorflow()
    with TemporaryDirectory(prefix="sphero-") as frames:
        if any(is_dicom(source.path) for source in sources):
            sources = decoded(sources, Path(frames), pixel_aspect=pixel_aspect, um_per_pixel=um_per_pixel)
        with shown("loading the model", len(sources)) as progress:
            detector = load_detector(loaded)
            progress.say("analysing")

            def on_field(source: FieldSource, image: FieldImage, findings: FieldFindings) -> None:
                write_overlay(out, source, image, findings)
                progress.advance()

            records = analyse_case(detector, sources, on_field, settings.quality.limits)
    scales = {source.um_per_pixel for source in sources}
    scale = scales.pop() if len(scales) == 1 else None
    found = [r.findings for r in records if r.findings is not None]
    rule = GradingRule(settings.site.grading, loaded.false_call_percent)
    counts = count_case(found, um_per_pixel=scale, rule=rule, microcyte_um=settings.site.microcyte_um)
    write_exports(out, loaded.id, records, counts)
    if as_json:
        print_json(summary_document(loaded.id, records, counts))
    else:
        _print(records, counts, out)
    if not counts.fields:
        fail("no field could be counted; summary.json says why for each")


def find_sources(paths: list[Path], *, pixel_aspect: float, um_per_pixel: float | None) -> list[FieldSource]:
    """The fields of what was named; a folder gives the images in it, at any depth."""
    from sphero_core.case import sources_of

    folders = [path for path in paths if path.is_dir()]
    if len(folders) > 1:
        raise typer.BadParameter("a folder is one case; give one folder at a time", param_hint="PATH")
    found: list[FieldSource] = []
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"{path} is not there", param_hint="PATH")
        files = sorted(_images_in(path)) if path.is_dir() else [path]
        for file in files:
            label = file.relative_to(path).as_posix() if path.is_dir() else file.name
            fields = sources_of(file, pixel_aspect=pixel_aspect, um_per_pixel=um_per_pixel)
            found += [replace(field, label=label + field.label.removeprefix(file.name)) for field in fields]
    if not found:
        raise typer.BadParameter(f"no image is there ({', '.join(sorted(SUFFIXES))})", param_hint="PATH")
    return found


def write_overlay(out: Path, source: FieldSource, image: FieldImage, findings: FieldFindings) -> None:
    """Draw the findings of one field into ``<label>.overlay.png``."""
    import cv2

    from sphero_core.render import draw_overlay

    drawn = draw_overlay(image, findings, um_per_pixel=source.um_per_pixel)
    name = source.label.replace("/", "_").replace("#", "-page-")
    done, encoded = cv2.imencode(".png", drawn[:, :, ::-1])
    if done:
        (out / f"{name}.overlay.png").write_bytes(encoded.tobytes())


def _images_in(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if (path.suffix.casefold() in SUFFIXES or (not path.suffix and path.name != "DICOMDIR" and is_dicom(path)))
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _print(records: list[FieldRecord], counts: CaseCounts, out: Path) -> None:
    for record in records:
        if record.findings is None:
            print(f"{record.file}: refused: {record.refusal}")
            continue
        red = [cell for cell in record.findings.cells if cell.cell_class.is_red_cell and not cell.touches_border]
        spherocytes = sum(cell.cell_class.value == "Spherocyte" for cell in red)
        said = "; ".join(record.findings.quality.reasons) or f"{len(red)} red cells, {spherocytes} spherocytes"
        print(f"{record.file}: {said}")
    if counts.spherocyte_percent is not None and counts.ci95 is not None:
        low, high = counts.ci95
        share = f"{counts.spherocyte_percent:.1f} % (95 % interval {low:.1f} to {high:.1f} %)"
        print(f"case: {counts.spherocytes} spherocytes of {counts.red_cells} red cells, {share}")
    if counts.grading is not None:
        print(f"grade {counts.grading.grade} by the scheme {counts.grading.scheme}. {counts.grading.reason}")
    for limitation in counts.limitations:
        print(f"  {limitation}")
    print(f"written to {out}")
