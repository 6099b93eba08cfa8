"""What is installed: locked by hash, declared where it is imported, under licences that a hospital can take."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "deploy" / "requirements"
OURS = ("sphero_core", "integrations", "db", "flows")

PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[0-9][^ ;]*) \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")

PERMISSIVE = re.compile(
    r"apache|bsd|mit\b|isc|psf|python software|zlib|unlicense|public domain|cnri|hpnd|0bsd", re.IGNORECASE
)
COPYLEFT = re.compile(r"gpl|general public|mozilla|mpl|cddl|epl|eupl", re.IGNORECASE)

# Imported names whose distribution is called otherwise.
DISTRIBUTIONS = {
    "gdcm": "python-gdcm",
    "jpeg_ls": "pyjpegls",
    "openjpeg": "pylibjpeg-openjpeg",
    "rle": "pylibjpeg-rle",
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "official": "tf-models-official",
    "skimage": "scikit-image",
    "tf_keras": "tf-keras",
    "yaml": "pyyaml",
}


def pins(lock: str) -> dict[str, str]:
    lines = (LOCKS / f"{lock}.txt").read_text().splitlines()
    return {found["name"]: found["version"] for line in lines if (found := PIN.fullmatch(line))}


def extras() -> dict[str, list[Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {extra: [Requirement(line) for line in lines] for extra, lines in project["optional-dependencies"].items()}


@pytest.mark.parametrize("lock", ["bootstrap", "service", "train", "dev"])
def test_a_lock_holds_versions_and_hashes_and_names_no_host(lock: str) -> None:
    lines = (LOCKS / f"{lock}.txt").read_text().splitlines()
    strange = [line for line in lines if not PIN.fullmatch(line) and not HASH.fullmatch(line)]
    assert strange == []
    without_hash = [
        line for line, following in pairwise([*lines, ""]) if PIN.fullmatch(line) and not HASH.fullmatch(following)
    ]
    assert without_hash == []


def test_a_package_has_the_same_version_in_every_lock() -> None:
    service, train, dev = pins("service"), pins("train"), pins("dev")
    assert service.items() <= train.items() <= dev.items()


@pytest.mark.parametrize(("lock", "parts"), [("service", 1), ("train", 2), ("dev", 3)])
def test_a_lock_satisfies_what_the_project_asks_for(lock: str, parts: int) -> None:
    locked = pins(lock)
    for extra in ("service", "train", "dev")[:parts]:
        for requirement in extras()[extra]:
            name = canonicalize_name(requirement.name)
            assert name in locked, f"{requirement} of extra {extra} is not in {lock}.txt: run `make lock`"
            assert requirement.specifier.contains(locked[name]), f"{requirement}: {lock}.txt has {locked[name]}"


def test_the_service_comes_without_the_model_garden() -> None:
    assert not pins("service").keys() & {"tf-models-official", "tf-keras", "kaggle", "tensorflow-text", "matplotlib"}


@pytest.mark.parametrize("lock", ["service", "train", "dev"])
def test_there_is_one_opencv_and_it_is_older_than_5(lock: str) -> None:
    found = {name: version for name, version in pins(lock).items() if name.startswith("opencv")}
    assert list(found) == ["opencv-python-headless"]
    assert int(found["opencv-python-headless"].split(".")[0]) < 5


def licence(name: str) -> str:
    about = metadata.metadata(name)
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    for lines in (about.get_all("License-Expression"), classifiers, about.get_all("License")):
        if lines:
            return "; ".join(lines)[:200]
    return "unknown"


def test_every_licence_of_the_service_is_permissive_or_explained() -> None:
    explained = set()
    for row in re.findall(r"^\| ([a-z0-9, -]+) \|", (ROOT / "deploy" / "licences.md").read_text(), re.MULTILINE):
        explained |= {name.strip() for name in row.split(",")}
    refused = {}
    installed = {canonicalize_name(found.name) for found in metadata.distributions()}
    for name in pins("service").keys() & installed:
        text = licence(name)
        if (COPYLEFT.search(text) or not PERMISSIVE.search(text)) and name not in explained:
            refused[name] = text
    assert refused == {}
    assert "psycopg" in explained


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def test_what_is_imported_is_declared_in_the_extra_that_installs_it() -> None:
    declared = {extra: {canonicalize_name(entry.name) for entry in entries} for extra, entries in extras().items()}
    undeclared = set()
    for top in OURS:
        for path in sorted((ROOT / top).rglob("*.py")):
            training = path.is_relative_to(ROOT / "sphero_core" / "training")
            allowed = declared["service"] | (declared["train"] if training else set())
            for module in imported_modules(path):
                if module in sys.stdlib_module_names or module in OURS:
                    continue
                if canonicalize_name(DISTRIBUTIONS.get(module, module)) not in allowed:
                    undeclared.add(f"{path.relative_to(ROOT)}: {module}")
    assert undeclared == set()


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    """TensorFlow alone takes four seconds to import; a command imports what it needs when it runs."""
    heavy = ["tensorflow", "prefect", "sqlalchemy", "alembic", "cv2", "scipy", "skimage", "official"]
    script = f"import flows.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
