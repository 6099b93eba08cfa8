"""The sandbox: hostile files end in one clear refusal, and whatever its child does, the next file is read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_files

from integrations.dicom import sandbox as sandbox_module
from integrations.dicom.sandbox import Sandbox, SandboxLimits
from integrations.errors import SandboxFailed, StoreError
from sphero_core.errors import DamagedImage, ImageError, UnreadableImage
from sphero_core.image import read_image
from tests.dicom_encodings import JPEG_LS, compressed, data_set, smear, written
from tests.dicom_hostile import HOSTILE
from tests.pydicom_files import OUTCOMES


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as one:
        yield one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.dcm"
    path.write_bytes(written(compressed(np.stack([smear(), smear()[::-1]]), JPEG_LS)))
    return path


def outcome(sandbox: Sandbox, path: Path, folder: Path) -> tuple[str, str]:
    """How reading a file ends: its frames, or the kind of refusal and its reason."""
    try:
        header = sandbox.frames(path, folder / "frame")
    except ImageError as refusal:
        assert not list(folder.glob("frame.*")), "nothing is left of a refused file"
        return type(refusal).__name__, str(refusal)
    return "read", str(header.pixels.frames)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    hostile = HOSTILE[name]
    path = tmp_path / "hostile.dcm"
    path.write_bytes(hostile.content())
    kind, reason = outcome(sandbox, path, tmp_path)
    assert (kind, hostile.reason in reason) == (hostile.kind, True), reason
    assert reason.endswith("."), "a sentence that says what to do"


def test_at_least_thirty_files_are_hostile() -> None:
    assert len(HOSTILE) >= 30


def test_files_of_pydicom_end_as_they_always_did(sandbox: Sandbox, tmp_path: Path) -> None:
    """Those in the wheel; most are of other classes than those that are read."""
    found = {}
    for name in get_testdata_files():
        path = Path(name)
        if path.is_file():
            label = path.relative_to(next(up for up in path.parents if up.name == "data")).as_posix()
            found[label] = outcome(sandbox, path, tmp_path)[0]
    unlike = {label: ended for label, ended in found.items() if OUTCOMES.get(label, "UnsupportedImage") != ended}
    assert unlike == {}
    assert found.keys() >= OUTCOMES.keys()


def test_frames_are_written_without_loss(sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    assert sandbox.frames(file, tmp_path / "out").pixels.frames == 2
    assert (read_image(tmp_path / "out.0").pixels == smear()).all()
    assert (read_image(tmp_path / "out.1").pixels == smear()[::-1]).all()


def test_the_child_stays_warm_over_refusals_and_knows_no_detector(file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(HOSTILE["a palette without its table"].content())
    with Sandbox() as one:
        one.header(file)
        child = one.pid
        assert outcome(one, bad, tmp_path)[0] == "DamagedImage"
        one.header(file)
        assert one.pid == child
        loaded = Path(f"/proc/{child}/maps").read_text()
        assert "numpy" in loaded
        assert "tensorflow" not in loaded
        limits = Path(f"/proc/{child}/limits").read_text()
        assert "Max address space         unlimited" not in limits
    assert not Path(f"/proc/{child}").exists()


def test_a_child_that_dies_by_itself_costs_nothing(file: Path) -> None:
    with Sandbox() as one:
        one.header(file)
        first = one.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        killer = threading.Timer(0.2, os.kill, (first, signal.SIGKILL))
        killer.start()
        assert one.header(file).pixels.frames == 2
        killer.join()
        assert one.pid != first


ENDS = "import os, sys\nprint('{\"ready\": 1}', flush=True)\nsys.stdin.readline()\nos._exit(9)"
HANGS = "import sys, time\nprint('{\"ready\": 1}', flush=True)\nsys.stdin.readline()\ntime.sleep(3600)"


@pytest.mark.parametrize(("child", "reason"), [(ENDS, "ends the program"), (HANGS, "takes too long")])
def test_a_file_that_ends_or_holds_the_child_twice_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, child: str, reason: str
) -> None:
    with Sandbox(SandboxLimits(step_seconds=0.3)) as one:
        with monkeypatch.context() as patch:
            patch.setattr(sandbox_module, "_MAIN", child)
            with pytest.raises(DamagedImage, match=reason):
                one.header(file)
        assert one.pid is None
    with Sandbox() as one:
        assert one.header(file).pixels.frames == 2


def test_memory_is_limited() -> None:
    code = (
        "from integrations.dicom.sandbox_child import set_limits\nset_limits()\n"
        "try:\n    bytearray(3 << 30)\nexcept MemoryError:\n    print('no memory')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "no memory\n"


def test_the_child_ends_with_its_parent(file: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom integrations.dicom.sandbox import Sandbox\n"
        "one = Sandbox()\none.header(Path(sys.argv[1]))\nprint(one.pid, flush=True)\nos._exit(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    child = Path(f"/proc/{int(done.stdout)}")
    end = time.monotonic() + 20
    while child.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not child.exists()


def test_our_own_faults_are_no_refusals(
    sandbox: Sandbox, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnreadableImage):
        sandbox.header(tmp_path / "not there")
    with pytest.raises(StoreError):
        sandbox.frames(file, tmp_path / "no folder" / "frame")
    monkeypatch.setattr(sandbox_module, "_MAIN", "raise SystemExit(1)")
    with pytest.raises(SandboxFailed), Sandbox() as broken:
        broken.header(file)


def test_what_a_taken_over_child_says_is_not_believed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lies = "import sys\nprint('{\"ready\": 1}', flush=True)\nfor line in sys.stdin:\n    print('{\"header\": [1]}', flush=True)"
    monkeypatch.setattr(sandbox_module, "_MAIN", lies)
    with pytest.raises(SandboxFailed, match="cannot be used"), Sandbox() as one:
        one.header(file)


def test_personal_data_is_in_no_refusal(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(written(data_set(smear(), AccessionNumber="secret\x01", PatientName="Secret^Name")))
    kind, reason = outcome(sandbox, path, tmp_path)
    assert kind == "UnsupportedImage"
    assert "ecret" not in reason
