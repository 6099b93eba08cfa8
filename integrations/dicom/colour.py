"""From stored samples to RGB; runs in the sandbox only.

Samples of more than 8 bits are scaled by Bits Stored: ``round(sample * 255 / (2 ** bits - 1))``. ICC profiles are not
applied, nor are windows: the detector is trained on colours as cameras write them.

Source: PS3.3 C.7.6.3.1.2 (photometric interpretations), C.7.6.3.1.5 and C.7.9 (palettes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from integrations.dicom.decoders import Samples
from integrations.dicom.header import Pixels
from sphero_core.errors import DamagedImage, UnsupportedImage

_STRIP = 256  # rows converted at a time, which bounds the memory that floating point takes
_YBR_TO_RGB = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]], np.float32)


def to_rgb(samples: Samples, pixels: Pixels, data_set: Dataset) -> NDArray[np.uint8]:
    """Give a frame as RGB.

    Parameters
    ----------
    samples : Samples
    pixels : Pixels
    data_set : Dataset
        Holds the palette, where there is one.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)

    Raises
    ------
    DamagedImage, UnsupportedImage
    """
    values, photometric = samples.values, samples.photometric
    if photometric == "PALETTE COLOR":
        return _palette(values, data_set)
    if photometric.startswith("YBR"):
        if pixels.bits_stored != 8 or values.dtype != np.uint8:
            raise UnsupportedImage("YBR colours of more than 8 bits are not read: send the DICOM object as RGB.")
        return _from_ybr(values)
    grey_or_rgb = _to_8_bits(values, pixels.bits_stored)
    if photometric == "MONOCHROME1":
        grey_or_rgb = 255 - grey_or_rgb
    if grey_or_rgb.ndim == 2:
        grey_or_rgb = np.repeat(grey_or_rgb[:, :, np.newaxis], 3, axis=2)
    return np.ascontiguousarray(grey_or_rgb)


def _to_8_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    full = (1 << bits) - 1
    if bits == 8 and values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    table = np.rint(np.minimum(np.arange(65_536), full) * (255.0 / full)).astype(np.uint8)
    return np.asarray(table[values & full], np.uint8)  # bits above those stored mean nothing (PS3.5 section 8.1.1)


def _from_ybr(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _STRIP):
        strip = values[top : top + _STRIP].astype(np.float32) - np.array([0, 128, 128], np.float32)
        np.rint(strip @ _YBR_TO_RGB.T, out=strip)
        rgb[top : top + _STRIP] = np.clip(strip, 0, 255)
    return rgb


def _palette(values: NDArray[Any], data_set: Dataset) -> NDArray[np.uint8]:
    descriptor = data_set.get("RedPaletteColorLookupTableDescriptor")
    if descriptor is None or ("RedPaletteColorLookupTableData" not in data_set) == (
        "SegmentedRedPaletteColorLookupTableData" not in data_set
    ):
        raise DamagedImage("The DICOM object has palette colours without their lookup table: send it again, or as RGB.")
    colours = apply_color_lut(values, data_set)
    if colours.ndim != 3 or colours.shape[2] != 3:
        raise UnsupportedImage("The palette of the DICOM object has transparency, which is not read: send it as RGB.")
    if colours.dtype == np.uint8:
        return np.asarray(colours, np.uint8)
    return _to_8_bits(colours, 16 if int(descriptor[2]) == 16 else 8)
