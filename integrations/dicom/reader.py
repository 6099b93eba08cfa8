"""A DICOM object read: its header, and its frames as RGB; runs in the sandbox only (`integrations.dicom.sandbox`).

    meta group -> SOP class and transfer syntax on the list -> skeleton and limits -> header -> pixels, frame by frame

Nothing of the data set is looked at before the meta group said that it is one of ours.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from integrations.dicom.catalogue import COLOUR_SPACES, DICOMDIR, IMAGE_CLASSES, SYNTAXES, WHOLE_SLIDE, Syntax
from integrations.dicom.colour import to_rgb
from integrations.dicom.decoders import Samples, decode_frame
from integrations.dicom.header import Header, Pixels
from integrations.dicom.header_reader import items, read_header
from integrations.dicom.limits import DEFAULT_LIMITS, ReaderLimits
from integrations.dicom.part10 import EncodedInstance, split_file
from integrations.dicom.structure import check_structure, inflate
from integrations.errors import InstanceRefused
from sphero_core.errors import DamagedImage, ImageTooLarge, UnsupportedImage

_REMEDY = "export the field as VL Microscopic Image, JPEG, PNG or TIFF"
_AGAIN = "send it again from the scanner"


@dataclass(frozen=True, slots=True, eq=False)
class OpenedInstance:
    """An object whose header was read and is one of ours."""

    header: Header
    data_set: Dataset

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Give each frame as RGB, shape (rows, columns, 3), in order.

        Raises
        ------
        DamagedImage, UnsupportedImage
            Whatever else a library raises is for the edge of the sandbox.
        """
        for samples in _samples(self.data_set, self.header):
            yield to_rgb(samples, self.header.pixels, self.data_set)


def open_instance(data: bytes, limits: ReaderLimits = DEFAULT_LIMITS) -> OpenedInstance:
    """Read everything but the pixels of a Part 10 file.

    Raises
    ------
    UnsupportedImage, DamagedImage, ImageTooLarge
        Whatever else a library raises is for the edge of the sandbox.
    """
    encoded = _taken_apart(data)
    syntax = check_listed(encoded)
    data_set = parse(encoded, syntax, limits)
    header = read_header(data_set, encoded.transfer_syntax_uid)
    if (header.sop_class_uid, header.sop_instance_uid) != (encoded.sop_class_uid, encoded.sop_instance_uid):
        raise DamagedImage(f"The DICOM object says another class or UID within than without: {_AGAIN}.")
    check_pixels(header.pixels, limits)
    if header.sop_class_uid == WHOLE_SLIDE:
        _check_level(data_set, header)
    return OpenedInstance(header, data_set)


def check_listed(encoded: EncodedInstance) -> Syntax:
    """Look up the transfer syntax of an object whose class is read.

    Raises
    ------
    UnsupportedImage
    """
    if encoded.sop_class_uid == DICOMDIR:
        raise UnsupportedImage("The file is a DICOMDIR, a list of other files, which is never opened: send the images.")
    if encoded.sop_class_uid not in IMAGE_CLASSES:
        raise UnsupportedImage(f"DICOM objects of the class {encoded.sop_class_uid} are not read as fields: {_REMEDY}.")
    syntax = SYNTAXES.get(encoded.transfer_syntax_uid)
    if syntax is None:
        raise UnsupportedImage(
            f"The transfer syntax {encoded.transfer_syntax_uid} is not read: send the object in another one, "
            "such as Explicit VR Little Endian or JPEG 2000."
        )
    return syntax


def parse(encoded: EncodedInstance, syntax: Syntax, limits: ReaderLimits) -> Dataset:
    """Parse a data set once its skeleton is known to be sound.

    Raises
    ------
    DamagedImage, ImageTooLarge
    """
    body = inflate(encoded.data_set, limits) if syntax.deflated else bytes(encoded.data_set)
    check_structure(body, syntax, limits)
    data_set = pydicom.filereader.read_dataset(
        io.BytesIO(body), is_implicit_VR=syntax.implicit, is_little_endian=not syntax.big_endian
    )
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = UID(encoded.transfer_syntax_uid)
    return pydicom.FileDataset(
        "", data_set, file_meta=meta, is_implicit_VR=syntax.implicit, is_little_endian=not syntax.big_endian
    )


def check_pixels(pixels: Pixels, limits: ReaderLimits) -> None:
    """Hold size and layout of the frames against the limits and what is read.

    Raises
    ------
    UnsupportedImage, DamagedImage, ImageTooLarge
    """
    rows, columns, frames = pixels.rows, pixels.columns, pixels.frames
    if min(rows, columns, frames) < 1:
        raise DamagedImage(f"The DICOM object claims {frames} frames of {columns} x {rows} pixels: {_AGAIN}.")
    if (
        rows * columns > limits.max_pixels
        or max(rows, columns) > limits.max_side
        or frames > limits.max_frames
        or rows * columns * frames > limits.max_all_pixels
    ):
        raise ImageTooLarge(
            f"The DICOM object has {frames} frames of {columns} x {rows} pixels, more than the {limits.max_frames:,} of "
            f"{limits.max_pixels:,} pixels or {limits.max_side:,} a side that are read: export single fields of view."
        )
    if pixels.photometric not in COLOUR_SPACES:
        raise UnsupportedImage(f"The photometric interpretation of the DICOM object is not read: {_REMEDY}.")
    if pixels.samples != (3 if pixels.photometric == "RGB" or pixels.photometric.startswith("YBR") else 1):
        raise DamagedImage(f"Samples per Pixel does not fit the photometric interpretation: {_AGAIN}.")
    if pixels.bits_allocated not in (8, 16) or not 1 <= pixels.bits_stored <= pixels.bits_allocated:
        raise UnsupportedImage(
            f"The DICOM object has {pixels.bits_allocated} bits a sample, 8 and 16 are read: {_REMEDY}."
        )
    if pixels.signed:
        raise UnsupportedImage(f"The DICOM object has signed samples, which no microscope writes: {_REMEDY}.")


def _taken_apart(data: bytes) -> EncodedInstance:
    reason = ""
    try:
        return split_file(data)
    except InstanceRefused as refused:
        reason = str(refused)
    raise DamagedImage(f"The file is no usable DICOM object: {reason}.")


def _check_level(data_set: Dataset, header: Header) -> None:
    """Let through a whole-slide object that is one field of view; never a label, which shows names."""
    kinds = [str(kind) for kind in data_set.get("ImageType") or []]
    if "VOLUME" not in kinds:
        raise UnsupportedImage(
            f"The whole-slide object is a label, an overview or a thumbnail, not a field: {_REMEDY}."
        )
    pixels = header.pixels
    whole = data_set.get("TotalPixelMatrixRows"), data_set.get("TotalPixelMatrixColumns")
    if pixels.frames != 1 or whole not in ((None, None), (pixels.rows, pixels.columns)):
        raise UnsupportedImage(f"The object is a whole slide in tiles, which is not read: {_REMEDY}.")
    if len(items(data_set, "OpticalPathSequence")) > 1:
        raise UnsupportedImage(f"The whole-slide object has several optical paths, which is not read: {_REMEDY}.")


def _samples(data_set: Dataset, header: Header) -> Iterator[Samples]:
    syntax, pixels = SYNTAXES[header.transfer_syntax_uid], header.pixels
    if "PixelData" not in data_set:
        raise DamagedImage(f"The DICOM object has no pixels: {_AGAIN}.")
    if not syntax.encapsulated:
        native = get_decoder(header.transfer_syntax_uid)
        for index in range(pixels.frames):
            values, _ = native.as_array(data_set, index=index, raw=True)
            yield Samples(values, pixels.photometric)
        return
    tables = data_set.get("ExtendedOffsetTable"), data_set.get("ExtendedOffsetTableLengths")
    streams = generate_frames(
        data_set.PixelData,
        number_of_frames=pixels.frames,
        extended_offsets=tables if None not in tables else None,  # type: ignore[arg-type]
    )
    count = 0
    for count, stream in enumerate(streams, start=1):
        if count > pixels.frames:
            break
        yield decode_frame(stream, syntax.decoder, pixels, header.transfer_syntax_uid)
    if count != pixels.frames:
        raise DamagedImage(f"The DICOM object holds another number of frames than it says: {_AGAIN}.")
