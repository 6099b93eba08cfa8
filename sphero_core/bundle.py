"""The model bundle: one folder with the exported network and everything needed to use and to trust it.

    <bundle>/
      bundle.json        name, version, input, thresholds, spherocyte judge, calibration, share of false calls, training data, figures, licences
      model/             the TensorFlow SavedModel
      SHA256             one line: the SHA-256 over all other files

The hash is taken over ``<sha256 of the file>  <path>`` lines, sorted by path; a bundle whose hash does not match does not
load.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sphero_core.calibration import Calibration
from sphero_core.errors import BundleError
from sphero_core.judge import SpherocyteJudge
from sphero_core.types import BundleId

SHIPPED = "<shipped>"
_HASH_FILE = "SHA256"
_DESCRIPTION = "bundle.json"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Operating point: the smallest probability at which something is called.

    Attributes
    ----------
    red_cell : float
        On P(RBC) + P(Spherocyte).
    spherocyte : float
        On P(Spherocyte) of a red cell.
    platelet, wbc : float
    """

    red_cell: float
    spherocyte: float
    platelet: float
    wbc: float


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network takes.

    Attributes
    ----------
    height, width : int
        Pixels of one pass.
    cell_diameter : float
        Apparent diameter in pixels to which the median cell of a case is brought.
    """

    height: int
    width: int
    cell_diameter: float


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk; without a judge, the network alone decides what a spherocyte is.

    `label_margin` is how far the boxes that people drew stand off the cells' outlines, as a share of the median cell's diameter: an
    evaluation compares boxes drawn in that way. `calibration` is that of P(Spherocyte | red cell); None where none helped.
    `false_call_percent` is the share of red cells that it calls spherocytes on held-out smears without any, in percent; None where
    that was not measured.
    """

    path: Path
    id: BundleId
    input: InputSpec
    thresholds: Thresholds
    judge: SpherocyteJudge | None
    label_margin: float
    description: dict[str, Any]
    calibration: Calibration | None = None
    false_call_percent: float | None = None

    @property
    def model_path(self) -> Path:
        """Folder of the SavedModel."""
        return self.path / "model"


def shipped_bundle() -> Path:
    """The bundle that comes with the program."""
    return Path(str(resources.files("sphero_core") / "bundles" / "shipped"))


def resolve_bundle(setting: str | Path) -> Path:
    """The folder a setting names; ``<shipped>`` is the bundle that comes with the program."""
    return shipped_bundle() if str(setting) in (SHIPPED, "") else Path(setting)


def bundle_sha256(path: Path) -> str:
    """SHA-256 over all files of a bundle, hex."""
    total = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != _HASH_FILE)
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{digest}  {file.relative_to(path).as_posix()}\n".encode())
    return total.hexdigest()


def load_bundle(path: Path) -> Bundle:
    """Read and verify a bundle; TensorFlow is not touched.

    Raises
    ------
    BundleError
        Something is missing, malformed or altered.
    """
    for name in (_DESCRIPTION, _HASH_FILE, "model/saved_model.pb"):
        if not (path / name).is_file():
            raise BundleError(f"the model bundle lacks {name}; name a folder made by `sphero model export`")
    expected = (path / _HASH_FILE).read_text(encoding="ascii").strip()
    found = bundle_sha256(path)
    if found != expected:
        raise BundleError(
            f"the model bundle was altered: SHA-256 is {found[:12]}..., expected {expected[:12]}...; restore the folder"
        )
    try:
        description = json.loads((path / _DESCRIPTION).read_text(encoding="utf-8"))
        thresholds = {key.casefold(): float(value) for key, value in description["thresholds"].items()}
        judge, calibration = description.get("spherocyte_judge"), description.get("calibration")
        return Bundle(
            path=path,
            id=BundleId(str(description["name"]), str(description["version"]), found),
            input=InputSpec(**description["input"]),
            thresholds=Thresholds(**thresholds),
            judge=None if judge is None else SpherocyteJudge.from_mapping(judge),
            label_margin=float(description.get("label_margin", 0.0)),
            description=description,
            calibration=None if calibration is None else Calibration.from_mapping(calibration),
            false_call_percent=_false_call_percent(description.get("false_calls")),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{_DESCRIPTION} of the model bundle cannot be read: {error}") from error


def record_false_calls(path: Path, evaluation: Mapping[str, Any], smears: str) -> str:
    """Write into a bundle how often it calls red cells spherocytes on smears without any, and seal it anew.

    Parameters
    ----------
    path : Path
        Of an intact bundle.
    evaluation : mapping
        What `sphero evaluate --points` wrote for this bundle.
    smears : str
        Which smears these were, in words; none of them may have been trained or chosen on.

    Returns
    -------
    str
        The new SHA-256.

    Raises
    ------
    BundleError
        The bundle is not intact, or the evaluation is not one of labelled points without spherocytes.
    """
    description = load_bundle(path).description
    try:
        labelled = evaluation["confusion"].get("Spherocyte")
        share, points, images = float(evaluation["false_spherocyte_share"]), evaluation["points"], evaluation["images"]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise BundleError("this is no output of `sphero evaluate --points`; give the file that it wrote") from None
    if labelled:
        raise BundleError(
            f"{sum(labelled.values())} of the points are labelled Spherocyte; measure on smears without any"
        )
    description["false_calls"] = {"share": share, "points": points, "images": images, "smears": smears}
    return seal_bundle(path, description)


def _false_call_percent(kept: Mapping[str, Any] | None) -> float | None:
    if kept is None:
        return None
    share = float(kept["share"])
    if not 0 <= share <= 1:
        raise ValueError(f"a share of false calls of {share} lies outside 0 to 1")
    return 100 * share


def seal_bundle(path: Path, description: dict[str, Any]) -> str:
    """Write a bundle's description and hash beside its model; gives the hash."""
    (path / _DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    digest = bundle_sha256(path)
    (path / _HASH_FILE).write_text(digest + "\n", encoding="ascii")
    return digest
