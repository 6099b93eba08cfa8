"""Our colours beside those of other readers: dcmtk, and OpenJPEG's own program for JPEG 2000."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from integrations.dicom.reader import open_instance
from tests import dicom_encodings as made
from tests.dicom_encodings import compressed, data_set, smear, with_streams, written
from tests.support import peer

DCMTK = "apt-get install dcmtk"
LOSSY = 2  # grey levels
MADE_BY_OTHERS = {
    "SC_jpeg_no_color_transform.dcm": 0,
    "SC_jpeg_no_color_transform_2.dcm": 0,
    "SC_rgb_dcmtk_+eb+cr.dcm": LOSSY,
    "SC_rgb_dcmtk_+eb+cy+n1.dcm": LOSSY,
    "SC_rgb_dcmtk_+eb+cy+s2.dcm": LOSSY,
    "SC_rgb_dcmtk_+eb+cy+s4.dcm": LOSSY,
    "SC_rgb_jpeg_app14_dcmd.dcm": LOSSY,
    "SC_rgb_jpeg_dcmd.dcm": LOSSY,
    "SC_rgb_jpeg_gdcm.dcm": 0,
    "SC_rgb_jpeg_lossy_gdcm.dcm": LOSSY,
    "SC_rgb_rle_16bit.dcm": 0,
    "SC_rgb_small_odd_big_endian.dcm": 0,
    "SC_rgb_small_odd_jpeg.dcm": LOSSY,
    "SC_ybr_full_422_uncompressed.dcm": LOSSY,
    "image_dfl.dcm": 0,
}
"""Test files of pydicom, with the grey levels by which we may differ from dcmtk."""


def run(program: str, *arguments: object) -> None:
    tool = peer("dcmtk", f"/usr/bin/{program}", remedy=DCMTK)
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def read_pnm(path: Path) -> Any:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels[:, :, ::-1] if pixels.ndim == 3 else np.repeat(pixels[:, :, np.newaxis], 3, 2)


def difference(content: bytes, folder: Path, program: str = "dcmj2pnm") -> int:
    """Grey levels by which our first frame differs from dcmtk's, at most."""
    (folder / "one.dcm").write_bytes(content)
    run(program, "--write-raw-pnm", folder / "one.dcm", folder / "one.ppm")
    ours = next(open_instance(content).frames())
    return int(np.abs(ours.astype(int) - read_pnm(folder / "one.ppm")).max())


@pytest.mark.parametrize("syntax", [made.IMPLICIT, made.EXPLICIT, made.DEFLATED, made.BIG_ENDIAN])
def test_native(tmp_path: Path, syntax: str) -> None:
    assert difference(written(data_set(smear(), syntax)), tmp_path) == 0


def test_rle_and_jpeg_ls(tmp_path: Path) -> None:
    assert difference(written(compressed(smear(), made.RLE)), tmp_path) == 0
    assert difference(written(compressed(smear(), made.JPEG_LS)), tmp_path, "dcml2pnm") == 0
    assert difference(written(compressed(smear(), made.JPEG_LS_NEAR)), tmp_path, "dcml2pnm") == 0


@pytest.mark.parametrize("syntax", [made.JPEG, made.JPEG_EXTENDED])
@pytest.mark.parametrize("colours", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg(tmp_path: Path, syntax: str, colours: str) -> None:
    one = compressed(smear(), syntax, PhotometricInterpretation=colours)
    assert difference(written(one), tmp_path) <= LOSSY


@pytest.mark.parametrize("colours", ["RGB", "YBR_FULL", "MONOCHROME1", "MONOCHROME2"])
def test_grey_and_ybr(tmp_path: Path, colours: str) -> None:
    pixels = smear() if colours in ("RGB", "YBR_FULL") else smear()[:, :, 1]
    if colours == "YBR_FULL":
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb), np.uint8)[:, :, [0, 2, 1]]
    most = {"YBR_FULL": 2, "MONOCHROME1": 1}.get(colours, 0)
    assert difference(written(data_set(pixels, PhotometricInterpretation=colours)), tmp_path) <= most


@pytest.mark.parametrize(
    ("option", "syntax", "most"),
    [
        ("--encode-lossless-sv1", "1.2.840.10008.1.2.4.70", 0),
        ("--encode-lossless", "1.2.840.10008.1.2.4.57", 0),
        ("--encode-baseline", "1.2.840.10008.1.2.4.50", LOSSY),
        ("--encode-extended", "1.2.840.10008.1.2.4.51", LOSSY),
    ],
)
def test_what_dcmcjpeg_writes(tmp_path: Path, option: str, syntax: str, most: int) -> None:
    source, target = tmp_path / "native.dcm", tmp_path / "jpeg.dcm"
    source.write_bytes(written(data_set(smear())))
    run("dcmcjpeg", option, source, target)
    content = target.read_bytes()
    assert open_instance(content).header.transfer_syntax_uid == syntax
    assert difference(content, tmp_path) <= most
    if most == 0:
        assert (next(open_instance(content).frames()) == smear()).all()


@pytest.mark.parametrize(("program", "viewer"), [("dcmcjpls", "dcml2pnm"), ("dcmcrle", "dcmj2pnm")])
def test_what_dcmcjpls_and_dcmcrle_write(tmp_path: Path, program: str, viewer: str) -> None:
    source, target = tmp_path / "native.dcm", tmp_path / "compressed.dcm"
    source.write_bytes(written(data_set(smear())))
    run(program, source, target)
    assert difference(target.read_bytes(), tmp_path, viewer) == 0
    assert (next(open_instance(target.read_bytes()).frames()) == smear()).all()


@pytest.mark.parametrize("name", MADE_BY_OTHERS)
def test_files_of_pydicom(tmp_path: Path, name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert path is not None
    assert difference(Path(path).read_bytes(), tmp_path) <= MADE_BY_OTHERS[name]


@pytest.mark.parametrize(
    ("syntax", "stream", "most"),
    [
        (made.JPEG_2000, "", 0),
        (made.JPEG_2000_LOSSY, "", LOSSY),
        (made.HTJ2K, "lossless", 0),
        (made.HTJ2K_LOSSY, "lossy", LOSSY),
    ],
)
def test_jpeg_2000_beside_opj_decompress(tmp_path: Path, syntax: str, stream: str, most: int) -> None:
    tool = peer("openjpeg", "opj_decompress", remedy="apt-get install libopenjp2-tools")
    if stream:
        one = with_streams(data_set(smear(), syntax), [(made.STREAMS / f"{stream}.j2c").read_bytes()])
    else:
        one = compressed(smear(), syntax)
    content = written(one)
    codestream = next(generate_frames(one.PixelData, number_of_frames=1))
    (tmp_path / "one.j2k").write_bytes(codestream)
    command = [str(part) for part in (tool, "-i", tmp_path / "one.j2k", "-o", tmp_path / "one.ppm")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ours = next(open_instance(content).frames())
    assert np.abs(ours.astype(int) - read_pnm(tmp_path / "one.ppm")).max() <= most
