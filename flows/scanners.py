"""Scale, shape of pixels and stain of a case: as `case.json` says, else as the site knows the scanner, else as its images say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from db.header_views import FieldSourceView
from db.views import Acquisition
from flows.findings import Check
from flows.scanner_settings import ScannerSettings

SAME_SCALE = 0.01
"""Relative difference up to which two instances have the same scale."""

_NOTHING = Acquisition()


class Scanners:
    """The scanners that a site knows.

    Parameters
    ----------
    known : sequence of ScannerSettings
        The first that fits an image counts.
    """

    def __init__(self, known: Sequence[ScannerSettings] = ()) -> None:
        self._known = tuple(known)

    def of(self, source: FieldSourceView) -> Acquisition:
        """What holds for an instance: of its scanner, where the site knows it, and else what it says itself."""
        header = source.header
        says = {
            "ae_title": source.calling_ae,
            "manufacturer": header.manufacturer,
            "model": header.model,
            "serial": header.serial,
        }
        told = {name: (text or "").strip().casefold() for name, text in says.items()}
        fitting = (each for each in self._known if each.known_by and each.known_by.items() <= told.items())
        scanner = next(fitting, None)
        return Acquisition(
            um_per_pixel=(scanner and scanner.um_per_pixel) or header.um_per_pixel,
            pixel_aspect=(scanner and scanner.pixel_aspect) or header.pixel_aspect,
            stain=(scanner and scanner.stain) or None,
        )

    def of_folder(self) -> Acquisition:
        """What holds for images of the watched folder that are no DICOM objects."""
        scanner = next((each for each in self._known if each.folder), None)
        if scanner is None:
            return _NOTHING
        return Acquisition(None, scanner.um_per_pixel, scanner.pixel_aspect, scanner.stain or None)

    def of_case(self, sources: Sequence[FieldSourceView], known: Acquisition) -> Acquisition:
        """What is taken for a case: where all its instances agree, and nobody said it before.

        Parameters
        ----------
        sources : sequence of FieldSourceView
            Of its fields; empty for a case of plain images.
        known : Acquisition
            What was said before.
        """
        taken = [self.of(source) for source in sources] or [self.of_folder()]
        stains = {each.stain for each in taken}
        return Acquisition(
            um_per_pixel=_common([each.um_per_pixel for each in taken]) if known.um_per_pixel is None else None,
            pixel_aspect=_common([each.pixel_aspect for each in taken]) if known.pixel_aspect is None else None,
            stain=stains.pop() if known.stain is None and len(stains) == 1 else None,
        )

    def checks(self) -> Iterator[Check]:
        """The lines of `sphero doctor`."""
        for number, scanner in enumerate(self._known):
            if any(_hides(earlier, scanner) for earlier in self._known[:number]):
                remedy = "put the block that says more before the one that says less, or remove one"
                yield Check("scanner", "fail", f"{scanner.described}; a block before it takes all its images", remedy)
            else:
                yield Check("scanner", "ok", scanner.described)


def _hides(earlier: ScannerSettings, later: ScannerSettings) -> bool:
    return earlier.folder == later.folder and earlier.known_by.items() <= later.known_by.items()


def _common(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    if not told or len(told) < len(values) or max(told) - min(told) > SAME_SCALE * max(told):
        return None
    return told[0]
