"""What is read of DICOM objects: every syntax and colour space on the list, identifiers with their issuers, scale."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from integrations.dicom.catalogue import SYNTAXES, WHOLE_SLIDE
from integrations.dicom.header import Header, Issued
from integrations.dicom.limits import ReaderLimits
from integrations.dicom.part10 import EncodedInstance, file_head
from integrations.dicom.reader import open_instance
from sphero_core.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from tests import dicom_encodings as made
from tests.dicom_encodings import compressed, data_set, smear, with_streams, written

NATIVE = (made.IMPLICIT, made.EXPLICIT, made.DEFLATED, made.BIG_ENDIAN)
LOSSLESS = (made.JPEG_LS, made.JPEG_2000, made.RLE)
LOSSY = {made.JPEG: 1.5, made.JPEG_EXTENDED: 1.5, made.JPEG_LS_NEAR: 2.0, made.JPEG_2000_LOSSY: 1.0}
"""Mean error that our own compression makes, in grey levels."""
TESTED_WITH_DCMTK = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
HTJ2K = (made.HTJ2K, made.HTJ2K_RPCL, made.HTJ2K_LOSSY)


def frames(made_object: Any) -> Any:
    return np.stack(list(open_instance(written(made_object)).frames()))


def as_rgb(pixels: Any) -> Any:
    return np.repeat(pixels[..., np.newaxis], 3, axis=-1)


def test_every_syntax_of_the_list_has_a_test() -> None:
    assert set(SYNTAXES) == {*NATIVE, *LOSSLESS, *LOSSY, *HTJ2K, *TESTED_WITH_DCMTK}


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("colour", ["colour", "grey", "two frames", "odd"])
def test_native_pixels_come_out_as_they_are(syntax: str, colour: str) -> None:
    picture = smear()
    pixels = {
        "colour": picture,
        "grey": picture[:, :, 1],
        "two frames": np.stack([picture, picture[::-1]]),
        "odd": picture[:33, :35],
    }[colour]
    read = frames(data_set(pixels, syntax))
    assert (read == (as_rgb(pixels) if colour == "grey" else pixels)).all()


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_compression_loses_nothing(syntax: str) -> None:
    picture = smear()
    assert (frames(compressed(picture, syntax))[0] == picture).all()
    assert (frames(compressed(picture[:, :, 1], syntax))[0] == as_rgb(picture[:, :, 1])).all()
    both = np.stack([picture, picture[::-1]])
    assert (frames(compressed(both, syntax)) == both).all()


@pytest.mark.parametrize("syntax", LOSSY)
def test_lossy_compression_stays_close(syntax: str) -> None:
    picture = smear()
    colours = "YBR_FULL" if syntax in (made.JPEG, made.JPEG_EXTENDED) else "RGB"
    read = frames(compressed(picture, syntax, PhotometricInterpretation=colours))[0]
    assert 0 < np.abs(read.astype(int) - picture).mean() < LOSSY[syntax]


@pytest.mark.parametrize(
    ("syntax", "stream", "most"),
    [
        (made.HTJ2K, "lossless", 0),
        (made.HTJ2K_RPCL, "lossless", 0),
        (made.HTJ2K_LOSSY, "lossy", 2),
        (made.HTJ2K, "grey", 0),
    ],
)
def test_high_throughput_jpeg_2000(syntax: str, stream: str, most: int) -> None:
    pixels = smear()[:, :, 1] if stream == "grey" else smear()
    read = frames(with_streams(data_set(pixels, syntax), [(made.STREAMS / f"{stream}.j2c").read_bytes()]))[0]
    assert np.abs(read.astype(int) - (as_rgb(pixels) if stream == "grey" else pixels)).max() <= most


@pytest.mark.parametrize("table", [True, False])
def test_frames_of_several_fragments_are_joined(table: bool) -> None:
    picture = np.stack([smear(), smear()[::-1]])
    streams = [made.encode(frame, made.JPEG_LS) for frame in picture]
    one = with_streams(data_set(picture, made.JPEG_LS), streams, table=table)
    assert (frames(one) == picture).all()


def test_planes_are_put_together() -> None:
    planar = data_set(smear(), PlanarConfiguration=1)
    planar.PixelData = smear().transpose(2, 0, 1).tobytes()
    assert (frames(planar)[0] == smear()).all()


def test_monochrome_1_is_turned_round() -> None:
    grey = smear()[:, :, 1]
    assert (frames(data_set(grey, PhotometricInterpretation="MONOCHROME1"))[0] == 255 - as_rgb(grey)).all()


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_more_than_8_bits_are_scaled_by_those_stored(bits: int) -> None:
    grey = smear()[:, :, 1]
    full = (1 << bits) - 1
    deep = np.rint(grey / 255 * full).astype(np.uint16)
    overlay = np.uint16(0 if bits == 16 else 1 << 15)  # bits above those stored mean nothing
    read = frames(data_set(deep | overlay, BitsStored=bits, HighBit=bits - 1))[0]
    assert (read == as_rgb(grey)).all()


@pytest.mark.parametrize("depth", [8, 16])
def test_palettes_are_applied(depth: int) -> None:
    indices = (smear()[:, :, 1] // 16).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (16, 3), np.uint8)
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for column, name in enumerate(("Red", "Green", "Blue")):
        entries = colours[:, column].astype(f"<u{depth // 8}") * (257 if depth == 16 else 1)
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [16, 0, depth]
        elements[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    assert (frames(data_set(indices, **elements))[0] == colours[indices]).all()


def test_ybr_becomes_rgb_as_the_standard_says() -> None:
    """PS3.3 C.7.6.3.1.2: pure colours."""
    ybr = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107], [255, 128, 128]]], np.uint8)
    read = frames(data_set(ybr, PhotometricInterpretation="YBR_FULL"))[0]
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]])
    assert np.abs(read - pure).max() <= 2


# --------------------------------------------------------------------------------------------------------------- header
def issuer(namespace: str | None = None, universal: str | None = None) -> Sequence:
    one = Dataset()
    if namespace:
        one.LocalNamespaceEntityID = namespace
    if universal:
        one.UniversalEntityID, one.UniversalEntityIDType = universal, "ISO"
    return Sequence([one])


def header(**elements: Any) -> Header:
    return open_instance(written(data_set(smear(), **elements))).header


def test_identifiers_come_with_their_issuers() -> None:
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "26-1-A", "1.2.3"
    specimen.IssuerOfTheSpecimenIdentifierSequence = issuer(None, "1.2.840.1")
    read = header(
        IssuerOfAccessionNumberSequence=issuer("LAB"),
        ContainerIdentifier="S1",
        SpecimenDescriptionSequence=Sequence([specimen]),
    )
    assert (read.accession, read.container) == (Issued("26-1", "LAB"), Issued("S1", None))
    assert (read.specimens[0].identifier, read.specimens[0].uid) == (Issued("26-1-A", "1.2.840.1"), "1.2.3")
    patient = read.patient
    assert patient.identifier == Issued("P1", "HOSP")
    assert (patient.family, patient.given, patient.birth_date, patient.sex) == ("Probe", "Petra", "1970-01-31", "F")
    assert Header.from_json(read.to_json()) == Header.from_json(open_json(read)) == read
    assert not [word for word in ("26-1", "S1", "P1", "HOSP", "Probe", "Petra", "1970") if word in repr(read)]


def open_json(read: Header) -> dict[str, Any]:
    import json

    return dict(json.loads(json.dumps(read.to_json())))


def test_scale_and_shape_of_pixels() -> None:
    assert header(PixelSpacing=[0.0001, 0.0001]).um_per_pixel == pytest.approx(0.1)
    stretched = header(PixelSpacing=[0.0001, 0.00013333])
    assert stretched.pixel_aspect == pytest.approx(1.3333)
    assert stretched.um_per_pixel == pytest.approx(0.13333)
    assert header(PixelAspectRatio=["3", "4"]).pixel_aspect == pytest.approx(4 / 3)
    assert header(PixelSpacing=[1, 1]).um_per_pixel is None, "no microscope has a millimetre a pixel"
    assert (header().um_per_pixel, header().pixel_aspect) == (None, 1.0)


def test_times_are_iso_8601() -> None:
    assert header(AcquisitionDateTime="20260331140500.000000+0200").acquired == "2026-03-31T14:05:00+02:00"
    assert header(AcquisitionDate="20260331", AcquisitionTime="1405").acquired == "2026-03-31T14:05:00"
    assert header(ContentDate="20260231", ContentTime="140500").acquired is None


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"StudyDate": "20260331", "StudyTime": "1405", "StudyID": "7"}, ("20260331", "1405", "7")),
        ({"StudyDate": "2026.03.31", "StudyTime": "14:05", "StudyID": "x" * 17}, (None, None, None)),
        ({"StudyDate": "20261331", "StudyTime": "250000"}, (None, None, None)),
    ],
)
def test_the_study_is_told_as_its_objects_tell_it_or_not_at_all(
    told: dict[str, str], read: tuple[str | None, ...]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydicom doubts some of them, too
        found = header(**told)
    assert (found.study_date, found.study_time, found.study_id) == read


def whole_slide(**elements: Any) -> Any:
    told: dict[str, Any] = {"SOPClassUID": WHOLE_SLIDE, "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}
    rows, columns = smear().shape[:2]
    told |= {"TotalPixelMatrixRows": rows, "TotalPixelMatrixColumns": columns}
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [0.00025, 0.00025]
    shared.PixelMeasuresSequence = Sequence([measures])
    path = Dataset()
    path.ObjectiveLensPower = 40
    told |= {"SharedFunctionalGroupsSequence": Sequence([shared]), "OpticalPathSequence": Sequence([path])}
    return data_set(smear(), **{**told, **elements})


def test_a_whole_slide_object_of_one_frame_is_a_field() -> None:
    opened = open_instance(written(whole_slide()))
    assert (next(opened.frames()) == smear()).all()
    assert opened.header.um_per_pixel == pytest.approx(0.25)
    assert opened.header.objective_power == 40


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, "label"),
        ({"ImageType": None}, "label"),
        ({"TotalPixelMatrixRows": 50_000}, "whole slide in tiles"),
    ],
)
def test_whole_slides_and_labels_are_refused(elements: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedImage, match=reason):
        open_instance(written(whole_slide(**elements)))


@pytest.mark.parametrize(
    ("elements", "kind", "reason"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, UnsupportedImage, "class 1.2.840.10008.5.1.4.1.1.2"),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, UnsupportedImage, "DICOMDIR"),
        ({"StudyInstanceUID": None}, DamagedImage, "StudyInstanceUID is missing"),
        ({"AccessionNumber": ["26-1", "26-2"]}, UnsupportedImage, "AccessionNumber"),
        ({"Rows": 0}, DamagedImage, "96 x 0"),
        ({"NumberOfFrames": 2}, ValueError, "pixel data"),  # the sandbox turns it into a refusal
        ({"Rows": 65_535, "Columns": 65_535, "NumberOfFrames": 100}, ImageTooLarge, "100 frames of 65535 x 65535"),
        ({"PhotometricInterpretation": "HSV"}, UnsupportedImage, "photometric"),
        ({"SamplesPerPixel": 1}, DamagedImage, "Samples per Pixel"),
        ({"BitsAllocated": 32}, UnsupportedImage, "32 bits"),
        ({"PixelRepresentation": 1}, UnsupportedImage, "signed"),
    ],
)
def test_what_is_not_read_is_refused_with_the_reason(
    elements: dict[str, Any], kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        frames(data_set(smear(), **elements))


def test_a_syntax_that_is_not_on_the_list_is_refused_before_the_data_set_is_looked_at() -> None:
    video = EncodedInstance(made.MICROSCOPIC, "1.2.3", "1.2.840.10008.1.2.4.102", b"\xff" * 100)
    with pytest.raises(UnsupportedImage, match=r"transfer syntax 1\.2\.840\.10008\.1\.2\.4\.102 is not read"):
        open_instance(file_head(video) + bytes(video.data_set))


def test_too_deep_and_too_many() -> None:
    nested = Dataset()
    for _ in range(20):
        outer = Dataset()
        outer.ReferencedImageSequence = Sequence([nested])
        nested = outer
    with pytest.raises(ImageTooLarge, match="within each other"):
        open_instance(written(data_set(smear(), ReferencedImageSequence=Sequence([nested]))))
    with pytest.raises(ImageTooLarge, match="elements"):
        open_instance(written(data_set(smear())), ReaderLimits(max_elements=10))
