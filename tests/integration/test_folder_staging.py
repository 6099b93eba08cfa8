"""Staging on a real file system: durable, once, nothing left behind, whatever lies in the folder."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from integrations.errors import (
    FolderError,
    SourceChanged,
    SourceGone,
    SourceRefused,
    SourceUnreadable,
    StoreError,
    StoreFull,
)
from integrations.folder import done
from integrations.folder.done import Moved, free_name, remove_empty_folders
from integrations.folder.scanner import Scanner
from integrations.folder.source import SeenFile
from integrations.folder.staging import Staging
from sphero_core.errors import DamagedImage, ImageError, ImageTooLarge, UnsupportedImage
from sphero_core.image import ImageLimits, probe_image
from tests.unit.image_files import picture, png_of_claimed_size, save

MAX_BYTES = 10_000_000
GOOD = save(picture(), "JPEG")


class Folders:
    """The three folders, and a staging whose steps a test can listen to."""

    def __init__(self, root: Path, *, store: Path | None = None) -> None:
        self.incoming = root / "incoming"
        self.store = store if store is not None else root / "store"
        self.quarantine = root / "quarantine"
        self.incoming.mkdir(exist_ok=True)
        self.on: dict[str, Callable[[], object]] = {}
        self.staging = Staging(
            incoming=self.incoming,
            store=self.store,
            quarantine=self.quarantine,
            inspect=partial(probe_image, limits=ImageLimits(max_bytes=MAX_BYTES)),
            max_bytes=MAX_BYTES,
            checkpoint=self._reached,
        )
        self.staging.prepare()

    def _reached(self, step: str) -> None:
        if step in self.on:
            self.on[step]()

    def put(self, name: str, content: bytes = GOOD) -> SeenFile:
        path = self.incoming / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return self.seen(name)

    def seen(self, name: str) -> SeenFile:
        state = (self.incoming / name).lstat()
        return SeenFile(tuple(name.split("/")), state.st_size, state.st_mtime_ns)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


# ------------------------------------------------------------------------------------------------------------ accepting
def test_a_file_is_kept_under_its_content_and_moved_away(folders: Folders) -> None:
    file = folders.put("A-17/slide 1/f.tiff")  # a JPEG whatever its name says
    staged = folders.staging.accept(file)
    digest = hashlib.sha256(GOOD).hexdigest()
    assert (staged.stored_name, staged.sha256, staged.size) == (f"{digest[:2]}/{digest}.jpg", digest, len(GOOD))
    assert (staged.info.width, staged.info.height) == (80, 64)
    assert (folders.store / staged.stored_name).read_bytes() == GOOD
    assert files(folders.incoming) == ["A-17/slide 1/f.tiff"]
    assert folders.staging.accept(file) == staged
    assert folders.staging.move_to_done(file) is Moved.MOVED
    assert folders.staging.move_to_done(file) is Moved.GONE
    assert files(folders.incoming) == [".done/A-17/slide 1/f.tiff"]
    assert files(folders.store) == [staged.stored_name]


def test_fsync_comes_before_the_name_and_the_folder_after(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept means durable: file, rename, folder, in this order."""
    events: list[str] = []
    fsync = os.fsync

    def told(descriptor: int) -> None:
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    folders.on = {"renamed": lambda: events.append("renamed"), "stored": lambda: events.append("stored")}
    folders.staging.accept(folders.put("A/f.jpg"))
    assert events == ["file", "folder", "renamed", "folder", "stored"]


def test_names_in_done_are_never_overwritten(folders: Folders) -> None:
    long_name = "é" * 124 + "end.jpg"
    for content in (b"first", b"second", b"third"):
        for name in ("f.jpg", long_name):
            assert folders.staging.move_to_done(folders.put(f"A/{name}", content)) is Moved.MOVED
    kept = {path.name: path.read_bytes() for path in (folders.incoming / ".done" / "A").iterdir()}
    assert {name: kept.pop(name) for name in ("f.jpg", "2_f.jpg", "3_f.jpg")} == {
        "f.jpg": b"first", "2_f.jpg": b"second", "3_f.jpg": b"third",
    }  # fmt: skip
    assert sorted(kept.values()) == [b"first", b"second", b"third"]
    assert all(name.endswith("end.jpg") and len(os.fsencode(name)) <= 255 for name in kept)
    assert free_name("a", lambda name: name == "a") == "2_a"


def test_a_share_that_is_read_only_keeps_its_files(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folders.put("A/f.jpg")

    def refused(*_args: object, **_kwargs: object) -> None:  # root may write everywhere, so it is refused by hand
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(done, "open_folder", refused)
    monkeypatch.setattr(done, "is_unchanged", lambda *_: True)
    assert folders.staging.move_to_done(file) is Moved.KEPT
    assert files(folders.incoming) == ["A/f.jpg"]


def test_empty_folders_go_when_they_are_old(folders: Folders) -> None:
    folders.staging.move_to_done(folders.put("A/slide/f.jpg"))
    folders.put("B/f.jpg")
    now = time.time()
    assert remove_empty_folders(folders.incoming, now=now) == 0
    for left in (1, 1, 0):  # what is removed makes the folder above look young again
        for folder in ("A/slide", "A"):
            if (folders.incoming / folder).exists():
                os.utime(folders.incoming / folder, (now - 90_000, now - 90_000))
        assert remove_empty_folders(folders.incoming, now=now) == left
    assert sorted(path.name for path in folders.incoming.iterdir()) == [".done", "B"]


# --------------------------------------------------------------------------------------------- files that do not stand still
def not_taken(folders: Folders, file: SeenFile, error: type[FolderError]) -> None:
    """Expect the error; the message names nothing, and nothing is left."""
    with pytest.raises(error) as caught:
        folders.staging.accept(file)
    assert not any(part in str(caught.value) for part in file.parts)
    assert files(folders.store) == []


def test_a_file_that_grows(folders: Folders) -> None:
    file = folders.put("A4711/grows.jpg")
    path = folders.incoming / "A4711/grows.jpg"
    with path.open("ab") as writer:
        writer.write(b"more")
    not_taken(folders, file, SourceChanged)
    file = folders.seen("A4711/grows.jpg")

    def grow() -> None:
        with path.open("ab") as writer:
            writer.write(b"more")

    folders.on = {"opened": grow}
    not_taken(folders, file, SourceChanged)


def test_a_file_cut_short_or_replaced_while_it_is_copied(folders: Folders) -> None:
    path = folders.incoming / "A4711/f4711.jpg"
    file = folders.put("A4711/f4711.jpg")
    folders.on = {"opened": lambda: os.truncate(path, 100)}
    not_taken(folders, file, SourceChanged)

    def replace() -> None:
        other = folders.incoming / "other"
        other.write_bytes(GOOD)
        os.utime(other, ns=(1, 1))
        other.replace(path)

    file = folders.put("A4711/f4711.jpg")
    folders.on = {"copied": replace}
    not_taken(folders, file, SourceChanged)
    folders.on = {}
    assert folders.staging.move_to_done(file) is Moved.CHANGED
    assert path.read_bytes() == GOOD


def test_a_file_replaced_in_the_last_moment_stays(folders: Folders) -> None:
    """What was never taken in must not disappear into .done."""
    path = folders.incoming / "A/f.jpg"
    file = folders.put("A/f.jpg")

    def replace() -> None:
        path.write_bytes(b"another picture")

    folders.on = {"done-folder": replace}
    assert folders.staging.move_to_done(file) is Moved.CHANGED
    assert files(folders.incoming) == ["A/f.jpg"]
    assert path.read_bytes() == b"another picture"


def test_a_file_deleted_between_scan_and_copy(folders: Folders) -> None:
    file = folders.put("A4711/f4711.jpg")
    (folders.incoming / "A4711/f4711.jpg").unlink()
    not_taken(folders, file, SourceGone)
    (folders.incoming / "A4711").rmdir()
    not_taken(folders, file, SourceGone)
    folders.on = {"copied": (folders.incoming / "A4711/f4711.jpg").unlink}
    not_taken(folders, folders.put("A4711/f4711.jpg"), SourceChanged)


def test_what_took_the_place_of_a_file_is_not_followed(folders: Folders, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(GOOD)
    path = folders.incoming / "A4711/f4711.jpg"
    file = folders.put("A4711/f4711.jpg")
    os.utime(secret, ns=(file.mtime_ns, file.mtime_ns))
    path.unlink()
    path.symlink_to(secret)
    not_taken(folders, file, SourceRefused)
    path.unlink()
    os.mkfifo(path)
    not_taken(folders, file, SourceRefused)
    with pytest.raises(SourceRefused):
        folders.staging.quarantine(file, "whatever")
    path.unlink()
    path.mkdir()
    not_taken(folders, file, SourceRefused)
    path.rmdir()
    path.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f4711.jpg").write_bytes(GOOD)
    os.utime(tmp_path / "elsewhere" / "f4711.jpg", ns=(file.mtime_ns, file.mtime_ns))
    path.parent.symlink_to(tmp_path / "elsewhere")
    not_taken(folders, file, SourceGone)
    assert folders.staging.move_to_done(file) in (Moved.GONE, Moved.CHANGED)
    assert files(tmp_path / "elsewhere") == ["f4711.jpg"]
    outside = SeenFile(("..", "secret.jpg"), file.size, file.mtime_ns)
    not_taken(folders, outside, SourceGone)


def test_a_file_that_may_not_be_read(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folders.put("A4711/f4711.jpg")
    opened = os.open

    def denied(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if os.fspath(path) == "f4711.jpg":  # root may read everything, so it is refused by hand
            raise PermissionError(errno.EACCES, "Permission denied", "f4711.jpg")
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", denied)
    not_taken(folders, file, SourceUnreadable)
    monkeypatch.undo()

    def broken(_descriptor: int, _count: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", broken)
    not_taken(folders, file, SourceUnreadable)


@pytest.mark.parametrize("name", ["line\nbreak.jpg", "..jpg", "-rf.jpg", "نص.jpg", "é" * 125 + ".jpg", "x\udcff.jpg"])
def test_hostile_names_never_reach_our_folders(name: str, folders: Folders) -> None:
    staged = folders.staging.accept(folders.put(f"A\n-B/{name}"))
    bad = folders.staging.quarantine(folders.put(f"A\n-B/2{name[1:]}", b"text"), "No image.")
    assert files(folders.store) == [staged.stored_name]
    assert files(folders.quarantine) == [f"{bad.stored_name}/original", f"{bad.stored_name}/reason.txt"]
    for folder in (folders.store, folders.quarantine):
        assert all(set(path) <= set("0123456789abcdefghijklmnopqrstuvwxyz./") for path in files(folder))
    assert folders.staging.move_to_done(folders.seen(f"A\n-B/{name}")) is Moved.MOVED


# ----------------------------------------------------------------------------------------------------------- quarantine
@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", DamagedImage),
        (b"just text\n", UnsupportedImage),
        (GOOD[:60], DamagedImage),
        (png_of_claimed_size(20_000, 20_000), ImageTooLarge),
    ],
)
def test_refused_files_keep_bytes_and_reason(content: bytes, error: type[ImageError], folders: Folders) -> None:
    file = folders.put("A4711/f4711.jpg", content)
    with pytest.raises(error) as caught:
        folders.staging.accept(file)
    assert files(folders.store) == []
    kept = folders.staging.quarantine(file, str(caught.value))
    assert (kept.kept, kept.size, kept.sha256) == (True, len(content), hashlib.sha256(content).hexdigest())
    assert folders.staging.quarantine(file, str(caught.value)) == kept
    folder = folders.quarantine / kept.stored_name
    assert (folder / "original").read_bytes() == content
    assert (folder / "reason.txt").read_text().startswith(f"{caught.value}\n")
    assert "4711" not in (folder / "reason.txt").read_text().replace(str(kept.sha256), "")
    assert folders.staging.move_to_done(file) is Moved.MOVED
    assert len(files(folders.quarantine)) == 2


def test_the_same_bytes_from_two_cases_are_two_entries(folders: Folders) -> None:
    one = folders.staging.quarantine(folders.put("A/f.jpg", b""), "Empty.")
    two = folders.staging.quarantine(folders.put("B/f.jpg", b""), "Empty.")
    assert one.stored_name != two.stored_name


def test_a_sparse_file_of_5_gib_is_kept_without_being_read(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.put("A/huge.tif", b"II*\0")
    os.truncate(folders.incoming / "A/huge.tif", 5 * 1024**3)
    file = folders.seen("A/huge.tif")

    def never(*_args: object) -> bytes:
        raise AssertionError("it was read")

    monkeypatch.setattr(os, "read", never)
    with pytest.raises(SourceRefused, match="5,368,709,120 bytes"):
        folders.staging.accept(file)
    for _ in range(2):
        kept = folders.staging.quarantine(file, "Too large.")
        assert (kept.kept, kept.sha256, kept.size) == (True, None, 5 * 1024**3)
    original = folders.quarantine / kept.stored_name / "original"
    assert original.stat().st_blocks < 100
    assert folders.staging.move_to_done(file) is Moved.MOVED

    folders.put("B/huge.tif", b"II*\0")
    os.truncate(folders.incoming / "B/huge.tif", 5 * 1024**3)
    file = folders.seen("B/huge.tif")

    def other_disk(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    kept = folders.staging.quarantine(file, "Too large.")
    assert kept.kept is False
    assert files(folders.quarantine / kept.stored_name) == ["reason.txt"]
    assert "too large" in (folders.quarantine / kept.stored_name / "reason.txt").read_text()


# ------------------------------------------------------------------------------------------------------------ full disk
def test_a_full_disk_is_told_and_leaves_nothing(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folders.put("A/f.jpg")
    write = os.write
    written = 0

    def full(descriptor: int, data: bytes) -> int:
        nonlocal written
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += write(descriptor, data[:100])
        return written

    monkeypatch.setattr(os, "write", full)
    for attempt in (folders.staging.accept, lambda seen: folders.staging.quarantine(seen, "No image.")):
        written = 0
        with pytest.raises(StoreFull, match="No space is left"):
            attempt(file)
        assert files(folders.store) == []
        assert files(folders.quarantine) == []
    monkeypatch.undo()
    assert folders.staging.accept(file).size == len(GOOD)


@pytest.mark.parametrize("step", ["fsync", "replace", "folder"])
def test_every_write_error_is_ours_and_leaves_nothing(
    step: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folders.put("A/f.jpg")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace"), "folder": (Path, "mkdir")}[step], fail)
    with pytest.raises(StoreError, match="Input/output error"):
        folders.staging.accept(file)
    monkeypatch.undo()
    assert files(folders.store) == []
    assert folders.staging.accept(file).size == len(GOOD)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a tmpfs of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", os.fspath(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True, timeout=10).returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here; the injected write error above shows the same")
    try:
        yield disk
    finally:
        subprocess.run(["umount", os.fspath(disk)], check=True, timeout=10)


def test_a_real_full_disk(tmp_path: Path, small_disk: Path) -> None:
    folders = Folders(tmp_path, store=small_disk)
    small, large = folders.put("A/small.jpg"), folders.put("A/large.jpg", GOOD + bytes(400_000))
    staged = folders.staging.accept(small)
    for _ in range(3):
        with pytest.raises(StoreFull):
            folders.staging.accept(large)
        assert files(small_disk) == [staged.stored_name]
    assert folders.staging.accept(small) == staged
    assert files(folders.incoming) == ["A/large.jpg", "A/small.jpg"]


def test_the_whole_way_from_scan_to_done(folders: Folders) -> None:
    for number in range(5):
        folders.put(f"A-17/{number}.jpg", GOOD + bytes([number]))
    folders.put("A-17/notes.jpg", b"text")
    scanner = Scanner(folders.incoming, stable_seconds=0, clock=lambda: 0.0)
    for case in scanner.scan().cases:
        for file in case.ready:
            try:
                folders.staging.accept(file)
            except ImageError as error:
                folders.staging.quarantine(file, str(error))
            assert folders.staging.move_to_done(file) is Moved.MOVED
    assert scanner.scan().settled("A-17")
    assert len(files(folders.store)) == 5
    assert len(files(folders.incoming / ".done")) == 6
