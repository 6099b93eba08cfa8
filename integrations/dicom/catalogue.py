"""Which DICOM objects and encodings are read, and by which decoder: the one table of them.

One decoder for each transfer syntax, so that a picture looks the same on every machine. pylibjpeg-libjpeg reads the JPEG
family too, but its licence (GPL-3) does not fit beside ours.

Sources: DICOM PS3.4 annex B.5 (SOP classes), PS3.6 annex A (identifiers), PS3.5 annex A (transfer syntaxes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
DICOMDIR = "1.2.840.10008.1.3.10"


class Decoder(StrEnum):
    """What turns stored bytes into samples; the values are what the documents call it."""

    NATIVE = "none (stored as samples)"
    TURBO = "simplejpeg (libjpeg-turbo)"
    GDCM = "python-gdcm"
    JPEG_LS = "pyjpegls (CharLS)"
    OPENJPEG = "pylibjpeg-openjpeg"
    RLE = "pylibjpeg-rle"


@dataclass(frozen=True, slots=True)
class Syntax:
    """A transfer syntax that is read.

    Attributes
    ----------
    name : str
        As PS3.6 has it.
    decoder : Decoder
    implicit, big_endian, deflated : bool
        How the data set is written.
    """

    name: str
    decoder: Decoder
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False

    @property
    def encapsulated(self) -> bool:
        """Whether pixels are compressed, frame by frame."""
        return self.decoder is not Decoder.NATIVE


SYNTAXES: Mapping[str, Syntax] = {
    "1.2.840.10008.1.2": Syntax("Implicit VR Little Endian", Decoder.NATIVE, implicit=True),
    "1.2.840.10008.1.2.1": Syntax("Explicit VR Little Endian", Decoder.NATIVE),
    "1.2.840.10008.1.2.1.99": Syntax("Deflated Explicit VR Little Endian", Decoder.NATIVE, deflated=True),
    "1.2.840.10008.1.2.2": Syntax("Explicit VR Big Endian", Decoder.NATIVE, big_endian=True),
    "1.2.840.10008.1.2.4.50": Syntax("JPEG Baseline (Process 1)", Decoder.TURBO),
    "1.2.840.10008.1.2.4.51": Syntax("JPEG Extended (Process 2 and 4)", Decoder.TURBO),
    "1.2.840.10008.1.2.4.57": Syntax("JPEG Lossless, Non-Hierarchical (Process 14)", Decoder.GDCM),
    "1.2.840.10008.1.2.4.70": Syntax("JPEG Lossless, First-Order Prediction", Decoder.GDCM),
    "1.2.840.10008.1.2.4.80": Syntax("JPEG-LS Lossless", Decoder.JPEG_LS),
    "1.2.840.10008.1.2.4.81": Syntax("JPEG-LS Near-Lossless", Decoder.JPEG_LS),
    "1.2.840.10008.1.2.4.90": Syntax("JPEG 2000 Lossless Only", Decoder.OPENJPEG),
    "1.2.840.10008.1.2.4.91": Syntax("JPEG 2000", Decoder.OPENJPEG),
    "1.2.840.10008.1.2.4.201": Syntax("High-Throughput JPEG 2000 Lossless Only", Decoder.OPENJPEG),
    "1.2.840.10008.1.2.4.202": Syntax("High-Throughput JPEG 2000 with RPCL Options Lossless Only", Decoder.OPENJPEG),
    "1.2.840.10008.1.2.4.203": Syntax("High-Throughput JPEG 2000", Decoder.OPENJPEG),
    "1.2.840.10008.1.2.5": Syntax("RLE Lossless", Decoder.RLE),
}
"""Transfer syntaxes by their UID."""

IMAGE_CLASSES: Mapping[str, str] = {
    "1.2.840.10008.5.1.4.1.1.77.1.2": "VL Microscopic Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.3": "VL Slide-Coordinates Microscopic Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image Storage",
    WHOLE_SLIDE: "VL Whole Slide Microscopy Image Storage",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image Storage",
}
"""SOP classes whose pixels are read as fields, by their UID."""

COLOUR_SPACES = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
    "PALETTE COLOR",
    "MONOCHROME1",
    "MONOCHROME2",
)
"""Photometric interpretations that are read (PS3.3 C.7.6.3.1.2)."""
