"""`sphero analyze` with DICOM files, by the shipped detector."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from sphero_core.synthetic import draw_smear
from sphero_core.synthetic_style import SmearStyle
from tests.dicom_encodings import JPEG_LS, compressed, data_set, written

pytestmark = pytest.mark.slow


def test_the_same_image_as_png_and_as_lossless_dicom_gives_the_same_cells(tmp_path: Path) -> None:
    pixels = draw_smear(SmearStyle(), np.random.default_rng(3)).pixels
    folder = tmp_path / "case"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), pixels[:, :, ::-1])
    spacing = {"PixelSpacing": [0.0001, 0.0001]}
    (folder / "2.dcm").write_bytes(written(compressed(pixels, JPEG_LS, **spacing)))
    (folder / "4.dcm").write_bytes(written(data_set(pixels))[:-100])
    done = CliRunner().invoke(app, ["analyze", str(folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    summary: dict[str, Any] = json.loads((tmp_path / "out" / "summary.json").read_text())
    fields = {field["file"]: field for field in summary["fields"]}
    assert list(fields) == ["1.png", "2.dcm", "4.dcm"]
    assert fields["1.png"]["counts"]["RBC"] > 0
    assert fields["1.png"]["counts"] == fields["2.dcm"]["counts"]
    assert fields["2.dcm"]["um_per_pixel"] == pytest.approx(0.1)
    assert fields["2.dcm"]["sha256"] == hashlib.sha256((folder / "2.dcm").read_bytes()).hexdigest()
    assert (fields["4.dcm"]["counts"], fields["4.dcm"]["quality"]["accepted"]) == (None, False)
    assert "cut off" in fields["4.dcm"]["quality"]["reasons"][0]
    assert measures(tmp_path / "out" / "cells.csv", "1.png") == measures(tmp_path / "out" / "cells.csv", "2.dcm")


def measures(path: Path, field: str) -> list[dict[str, str]]:
    """All that is told of the cells of a field but lengths in micrometres, which only one of them can have."""
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.pop("file") == field]
    assert rows
    return [{name: value for name, value in row.items() if "_um" not in name} for row in rows]
