"""The blocks ``[[scanner]]``: what a site knows of a scanner that its images do not say, or say wrongly."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from flows.setting_types import Section

Known = Annotated[str, Field(max_length=64)]  # the longest that DICOM has for such an element (PS3.5 section 6.2, LO)

_BY = ("ae_title", "manufacturer", "model", "serial")


class ScannerSettings(Section):
    """A scanner, and what holds for its images.

    Attributes
    ----------
    folder : bool
        Images of the watched folder that are no DICOM objects.
    ae_title : str
        As which it sends to our receiver.
    manufacturer, model, serial : str
        As its objects name it: (0008,0070), (0008,1090), (0018,1000). What is empty is not looked at.
    um_per_pixel : float or None
        Micrometres per pixel after un-stretching.
    pixel_aspect : float or None
        Display width over height of one stored pixel.
    stain : str
    """

    folder: bool = False
    ae_title: Annotated[str, Field(max_length=16)] = ""
    manufacturer: Known = ""
    model: Known = ""
    serial: Known = ""
    um_per_pixel: Annotated[float, Field(gt=0.005, lt=5.0)] | None = None
    pixel_aspect: Annotated[float, Field(ge=0.2, le=5.0)] | None = None
    stain: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        named = [name for name in _BY if getattr(self, name).strip()]
        if not named and not self.folder:
            raise ValueError(f"must be known by folder = true, or by one of {', '.join(_BY)}")
        if named and self.folder:
            raise ValueError(f"folder = true is for images that say nothing of their scanner: remove {named[0]}")
        if self.um_per_pixel is None and self.pixel_aspect is None and not self.stain:
            raise ValueError("must give um_per_pixel, pixel_aspect or stain")
        return self

    @property
    def known_by(self) -> dict[str, str]:
        """What its images must say, by name of the key; compared without case and surrounding spaces."""
        return {name: text for name in _BY if (text := getattr(self, name).strip().casefold())}

    @property
    def described(self) -> str:
        """By what it is known and what holds for it, for people."""
        by = ", ".join(f"{name} {getattr(self, name)}" for name in self.known_by) or "plain images of the folder"
        scale = None if self.um_per_pixel is None else f"{self.um_per_pixel:g} µm per pixel"
        aspect = None if self.pixel_aspect is None else f"pixel aspect {self.pixel_aspect:g}"
        stain = f"stain {self.stain}" if self.stain else None
        return f"{by}: {', '.join(each for each in (scale, aspect, stain) if each)}"
