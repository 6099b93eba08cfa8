"""A bundle that was altered does not load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sphero_core.bundle import bundle_sha256, load_bundle, seal_bundle
from sphero_core.errors import BundleError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "saved_model.pb").write_bytes(b"graph")
    seal_bundle(
        folder,
        {
            "name": "trial",
            "version": "1",
            "input": {"height": 384, "width": 512, "cell_diameter": 60.0},
            "thresholds": {"red_cell": 0.5, "spherocyte": 0.4, "platelet": 0.5, "wbc": 0.5},
        },
    )
    return folder


def test_a_sealed_bundle_loads_with_its_hash(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.id.sha256 == bundle_sha256(bundle) == (bundle / "SHA256").read_text().strip()
    assert loaded.thresholds.spherocyte == 0.4
    assert loaded.input.width == 512


def test_one_changed_byte_is_found(bundle: Path) -> None:
    (bundle / "model" / "saved_model.pb").write_bytes(b"grapf")
    with pytest.raises(BundleError, match="altered"):
        load_bundle(bundle)


def test_a_changed_threshold_is_found(bundle: Path) -> None:
    description = json.loads((bundle / "bundle.json").read_text())
    description["thresholds"]["spherocyte"] = 0.1
    (bundle / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match="altered"):
        load_bundle(bundle)


def test_an_added_file_is_found(bundle: Path) -> None:
    (bundle / "model" / "extra").write_bytes(b"")
    with pytest.raises(BundleError, match="altered"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["bundle.json", "SHA256", "model/saved_model.pb"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle)


def test_a_description_without_thresholds_is_refused(bundle: Path) -> None:
    seal_bundle(bundle, {"name": "trial", "version": "1", "input": {"height": 1, "width": 1, "cell_diameter": 1.0}})
    with pytest.raises(BundleError, match="thresholds"):
        load_bundle(bundle)
