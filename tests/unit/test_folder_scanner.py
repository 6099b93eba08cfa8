"""The scan: what is ready, what is waited for, and what is never taken."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from integrations.errors import FolderUnavailable
from integrations.folder.memory import FileMemory
from integrations.folder.scanner import Scan, Scanner, is_temporary


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def put(incoming: Path, name: str, content: bytes = b"x") -> Path:
    path = incoming / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ready(scan: Scan) -> list[str]:
    return ["/".join(file.parts) for case in scan.cases for file in case.ready]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scanner(tmp_path: Path, clock: Clock) -> Scanner:
    return Scanner(tmp_path, stable_seconds=5.0, clock=clock)


def test_a_file_is_ready_once_it_has_stopped_changing(tmp_path: Path, clock: Clock, scanner: Scanner) -> None:
    growing = put(tmp_path, "A1/a.jpg")
    put(tmp_path, "A1/b.jpg")
    assert (ready(scanner.scan()), scanner.scan().cases[0].waiting) == ([], 2)
    clock.now += 4
    growing.write_bytes(b"longer")
    assert scanner.scan().cases[0].waiting == 2
    clock.now += 2
    scan = scanner.scan()
    assert (ready(scan), scan.cases[0].waiting, scan.settled("A1")) == (["A1/b.jpg"], 1, False)
    os.utime(growing, ns=(1, 1))  # same size, other time: still being written
    clock.now += 4
    assert ready(scanner.scan()) == ["A1/b.jpg"]
    clock.now += 5
    assert ready(scanner.scan()) == ["A1/a.jpg", "A1/b.jpg"]


def test_an_emptied_or_unknown_case_has_settled(tmp_path: Path, clock: Clock, scanner: Scanner) -> None:
    path = put(tmp_path, "A1/a.jpg")
    scanner.scan()
    path.unlink()
    clock.now += 9
    scan = scanner.scan()
    assert scan.cases == ()
    assert scan.settled("A1")


def test_order_is_that_of_the_paths_and_repeats(tmp_path: Path) -> None:
    for name in ("B/2.jpg", "B/10.jpg", "A/z/1.jpg", "A/a.jpg", "Ä/1.jpg", "A b/1.jpg"):
        put(tmp_path, name)
    expected = ["A/a.jpg", "A/z/1.jpg", "A b/1.jpg", "B/10.jpg", "B/2.jpg", "Ä/1.jpg"]
    assert ready(Scanner(tmp_path, stable_seconds=0, clock=Clock()).scan()) == expected


def test_nested_folders_belong_to_the_case_and_only_the_upper_manifest_counts(tmp_path: Path) -> None:
    for name in ("A/case.json", "A/slide 1/region/f.jpg", "A/slide 1/case.json"):
        put(tmp_path, name)
    (case,) = Scanner(tmp_path, stable_seconds=0, clock=Clock()).scan().cases
    assert case.name == "A"
    assert case.manifest is not None
    assert case.manifest.parts == ("A", "case.json")
    assert [file.parts[-1] for file in case.ready] == ["case.json", "f.jpg"]


def test_a_growing_manifest_holds_the_case_open(tmp_path: Path, clock: Clock, scanner: Scanner) -> None:
    put(tmp_path, "A/case.json")
    scan = scanner.scan()
    assert (scan.cases[0].manifest, scan.settled("A")) == (None, False)
    clock.now += 5
    scan = scanner.scan()
    assert scan.cases[0].manifest is not None
    assert scan.settled("A")


def test_files_without_a_case_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "lost.jpg")
    put(tmp_path, "Thumbs.db")
    scan = Scanner(tmp_path, stable_seconds=0, clock=Clock()).scan()
    assert [file.parts for file in scan.misplaced] == [("lost.jpg",)]
    assert scan.cases == ()


@pytest.mark.parametrize(
    "name", [".hidden.jpg", "~$field.jpg", "field.jpg.part", "field.TMP", "field.jpg.filepart", "Thumbs.db", "f.jpg~"]
)
def test_a_temporary_name_is_waited_for_while_it_changes_and_then_ignored(
    name: str, tmp_path: Path, clock: Clock, scanner: Scanner
) -> None:
    put(tmp_path, f"A/{name}")
    assert not scanner.scan().settled("A")
    clock.now += 5
    scan = scanner.scan()
    assert (scan.cases, scan.settled("A")) == ((), True)
    assert is_temporary(name)
    assert not is_temporary("field.jpg")


def test_dot_folders_links_and_what_is_no_file_are_left_alone(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/secret.jpg")
    incoming = tmp_path / "incoming"
    put(incoming, ".done/A/old.jpg")
    put(incoming, "A/.sync/part.jpg")
    (incoming / "A/link.jpg").symlink_to(outside)
    (incoming / "linked case").symlink_to(outside.parent)
    (incoming / "loop").symlink_to(incoming)
    os.mkfifo(incoming / "A/fifo.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(incoming / "A/socket.jpg"))
        scan = Scanner(incoming, stable_seconds=0, clock=Clock()).scan()
    assert (scan.cases, scan.misplaced, scan.unreadable) == ((), (), 0)


def test_hostile_names_are_taken_as_they_are(tmp_path: Path) -> None:
    names = [
        "line\nbreak.jpg",
        "..jpg",
        "-rf.jpg",
        "نص.jpg",
        "é" * 125 + ".jpg",
        "a'; DROP TABLE.jpg",
        "*.jpg",
        "x\udcff.jpg",
    ]
    for name in names:
        put(tmp_path, f"A\nB/{name}")
    (case,) = Scanner(tmp_path, stable_seconds=0, clock=Clock()).scan().cases
    taken = {file.parts[-1] for file in case.ready}
    assert taken == {name for name in names if not name.startswith(".")}
    assert len({file.key for file in case.ready}) == len(taken)
    assert all(set(file.key) <= set("0123456789abcdef") for file in case.ready)


def test_no_repr_tells_a_name(tmp_path: Path) -> None:
    put(tmp_path, "CANARY-1/CANARY-2.jpg")
    put(tmp_path, "CANARY-1/case.json")
    put(tmp_path, "CANARY-3.jpg")
    scan = Scanner(tmp_path, stable_seconds=0, clock=Clock()).scan()
    assert scan.misplaced
    assert scan.cases[0].ready
    assert "CANARY" not in repr(scan)


def test_known_files_of_a_read_only_share_are_left_out_until_they_change(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "memory")
    incoming = tmp_path / "incoming"
    path = put(incoming, "A/a.jpg")
    scanner = Scanner(incoming, stable_seconds=0, clock=Clock(), memory=memory)
    memory.remember(scanner.scan().cases[0].ready[0], "0" * 64)
    assert scanner.scan().cases == ()
    path.write_bytes(b"another picture")
    assert ready(scanner.scan()) == ["A/a.jpg"]


def test_a_missing_folder_says_so_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(FolderUnavailable, match="share is mounted") as caught:
        Scanner(tmp_path / "CANARY", stable_seconds=0, clock=Clock()).scan()
    assert "CANARY" not in str(caught.value)


def test_too_deep_and_unlistable_folders_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "A/" + "d/" * 20 + "f.jpg")
    put(tmp_path, "A/a.jpg")
    put(tmp_path, "B/b.jpg")
    scandir = os.scandir

    def denied(path: str | Path) -> object:  # root may list everything, so permission is denied by hand
        if os.fspath(path).endswith("/B"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    scan = Scanner(tmp_path, stable_seconds=0, clock=Clock()).scan()
    assert (ready(scan), scan.unreadable) == (["A/a.jpg"], 2)


def test_thousands_of_folders_are_cheap(tmp_path: Path) -> None:
    for case in range(3_000):
        (tmp_path / f"{case:05d}").mkdir()
        (tmp_path / f"{case:05d}" / "f.jpg").touch()
    scanner = Scanner(tmp_path, stable_seconds=5, clock=Clock())
    scanner.scan()
    start = time.process_time()
    assert len(scanner.scan().cases) == 3_000
    assert time.process_time() - start < 1.0, "some 0.05 s on an idle core"


def test_memory_survives_a_restart_and_a_torn_line(tmp_path: Path) -> None:
    put(tmp_path / "in", "A/a.jpg")
    put(tmp_path / "in", "A/b.jpg")
    first, second = Scanner(tmp_path / "in", stable_seconds=0, clock=Clock()).scan().cases[0].ready
    path = tmp_path / "state" / "memory"
    FileMemory(path).remember(first, "1" * 64)
    FileMemory(path).remember(first, "2" * 64)
    with path.open("ab") as stream:
        stream.write(b'{"key": "torn')
    restarted = FileMemory(path)
    assert restarted.sha256_of(first) == "2" * 64
    restarted.remember(second, None)
    again = FileMemory(path)
    assert (again.knows(first), again.knows(second), again.sha256_of(second)) == (True, True, None)
    assert len(path.read_bytes().splitlines()) == 2
    assert b"a.jpg" not in path.read_bytes()
