"""What is refused of a DICOM object before, or instead of, being decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """Limits of one object; those of pixels are the ones of other images (`sphero_core.image.ImageLimits`).

    Attributes
    ----------
    max_bytes : int
        Of the file, and of its data set after inflating.
    max_elements : int
        Elements and items, at every depth.
    max_depth : int
        Sequences within sequences.
    max_pixels : int
        Rows times Columns.
    max_side : int
        The larger of the two.
    max_frames : int
    max_all_pixels : int
        Of all frames together.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_elements: int = 100_000
    max_depth: int = 16
    max_pixels: int = 48_000_000
    max_side: int = 12_000
    max_frames: int = 1_000
    max_all_pixels: int = 2_000_000_000


DEFAULT_LIMITS = ReaderLimits()
