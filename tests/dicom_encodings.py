"""DICOM objects for the tests, written by us with pydicom and the coders of others from synthetic smears.

`lossless.j2c`, `lossy.j2c` and `grey.j2c` in `tests/dicom_streams` are HTJ2K codestreams of `smear(96, 64)`, encoded by OpenJPH: nothing
that the tests install can encode HTJ2K.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import jpeg_ls
import numpy as np
import openjpeg.utils
import pydicom
import rle.utils
import simplejpeg
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid

from sphero_core.synthetic import draw_smear
from sphero_core.synthetic_style import SmearStyle

MICROSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG, JPEG_EXTENDED, JPEG_LOSSLESS = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 70))
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000, JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
RLE = "1.2.840.10008.1.2.5"
STREAMS = Path(__file__).parent / "dicom_streams"

Samples = NDArray[Any]


@functools.cache
def smear(width: int = 96, height: int = 64, seed: int = 5) -> NDArray[np.uint8]:
    """Draw a small smear, the same on every machine."""
    style = SmearStyle(width=width, height=height, cell_diameter_px=24, red_cells=10)
    return draw_smear(style, np.random.default_rng(seed)).pixels


def data_set(pixels: Samples, syntax: str = EXPLICIT, **elements: Any) -> FileDataset:
    """Build an object of one case with native pixels; `elements` are set by keyword, None removes.

    Parameters
    ----------
    pixels : ndarray
        (rows, columns) or (rows, columns, 3), with one axis more in front for several frames.
    """
    grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] != 3)
    frames = pixels if pixels.ndim == (3 if grey else 4) else pixels[np.newaxis]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    made = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    bits = 8 * pixels.dtype.itemsize
    told: dict[str, Any] = {
        "SOPClassUID": MICROSCOPIC,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
        "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2",
        "Modality": "GM",
        "AccessionNumber": "26-1",
        "PatientName": "Probe^Petra",
        "PatientID": "P1",
        "IssuerOfPatientID": "HOSP",
        "PatientBirthDate": "19700131",
        "PatientSex": "F",
        "Rows": frames.shape[1],
        "Columns": frames.shape[2],
        "SamplesPerPixel": 1 if grey else 3,
        "PhotometricInterpretation": "MONOCHROME2" if grey else "RGB",
        "PlanarConfiguration": None if grey else 0,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "NumberOfFrames": len(frames) if len(frames) > 1 else None,
    }
    for keyword, value in {**told, **elements}.items():
        if value is not None:
            setattr(made, keyword, value)
    made.PixelData = _even(frames.astype(frames.dtype.newbyteorder(">" if syntax == BIG_ENDIAN else "<")).tobytes())
    made["PixelData"].VR = "OB" if bits == 8 and syntax != IMPLICIT else "OW"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    return made


def compressed(pixels: Samples, syntax: str, **elements: Any) -> FileDataset:
    """Build an object with compressed pixels; lossy where the syntax is."""
    made = data_set(pixels, syntax, **elements)
    frames = pixels[np.newaxis] if pixels.ndim == made.SamplesPerPixel // 3 + 2 else pixels
    return with_streams(made, [encode(frame, syntax) for frame in frames])


def with_streams(made: FileDataset, streams: list[bytes], *, table: bool = True) -> FileDataset:
    """Put compressed frames into an object."""
    made.PixelData = encapsulate(streams, has_bot=table)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return made


def encode(frame: Samples, syntax: str) -> bytes:
    """Compress one frame."""
    frame = np.ascontiguousarray(frame)
    if syntax in (JPEG, JPEG_EXTENDED):
        colour = "RGB" if frame.ndim == 3 else "GRAY"
        shaped = frame if frame.ndim == 3 else frame[:, :, np.newaxis]
        return bytes(simplejpeg.encode_jpeg(shaped, quality=95, colorspace=colour, colorsubsampling="444"))
    if syntax in (JPEG_LS, JPEG_LS_NEAR):
        mode = {"interleave_mode": 2} if frame.ndim == 3 else {}
        return bytes(jpeg_ls.encode_array(frame, lossy_error=0 if syntax == JPEG_LS else 2, **mode))
    if syntax in (JPEG_2000, JPEG_2000_LOSSY):
        lossy = {"compression_ratios": [4]} if syntax == JPEG_2000_LOSSY else {}
        space = 1 if frame.ndim == 3 else 2
        return bytes(
            openjpeg.utils.encode_array(frame, photometric_interpretation=space, use_mct=frame.ndim == 3, **lossy)
        )
    if syntax == RLE:
        told = {"rows": frame.shape[0], "columns": frame.shape[1], "samples_per_pixel": 1 if frame.ndim == 2 else 3}
        told |= {"bits_allocated": 8 * frame.dtype.itemsize, "number_of_frames": 1}
        return bytes(rle.utils.encode_pixel_data(frame.tobytes(), byteorder="<", **told))
    raise ValueError(syntax)


def written(made: FileDataset) -> bytes:
    """The object as a Part 10 file."""
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)
