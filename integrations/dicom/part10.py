"""A data set that came, kept as a file of DICOM Part 10: durable, named by its content, not decoded.

The file is the preamble, a file meta group of our own (PS3.10 section 7.1), and the data set byte for byte as it came, in
the transfer syntax it came in. Whatever brought the data set (C-STORE, C-GET, WADO-RS, a folder), the same class, UID,
transfer syntax and bytes give the same file: its SHA-256 tells a repeated instance from another one under the same UID.
The meta group is therefore written here, element by element, and must never change: neither who sent the data set nor
the version of a library or of this program stands in it.

The store is that of the watched folder (`integrations.folder.staging`): ``<first two digits>/<SHA-256>.dcm``. A process
killed before the rename leaves a partial copy, which `InstanceStore.prepare` removes; one killed after it leaves the file,
which the next attempt writes again under the same name.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from integrations.errors import InstanceRefused
from integrations.folder.direct import DirectWriter, open_new
from integrations.folder.durable import partial_name, store_errors, sync_folder

IMPLEMENTATION_CLASS_UID = "2.25.145611284903416021395826404171834201903"
"""Names this program in what it writes and in its associations (PS3.7 Annex D.3.3.2); a UUID as UID (PS3.5 Annex B.2)."""

IMPLEMENTATION_VERSION = "SPHEROFLOW"
MEDIA_TYPE = "application/dicom"
STEPS = ("partial", "synced", "renamed", "stored")

_PARTIAL = ".partial"
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_LONGEST_UID = 64
_PREAMBLE = bytes(128) + b"DICM"
_SMALLEST_META = 12  # the element with the group's length
_LARGEST_META = 1 << 20


@dataclass(frozen=True, slots=True)
class EncodedInstance:
    """One instance as it came.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        As the sender says: of the C-STORE command, or of the file meta group.
    transfer_syntax_uid : str
        In which the data set is encoded.
    data_set : bytes-like
        Without preamble and file meta group; not decoded.

    Raises
    ------
    InstanceRefused
        One of the UIDs is none.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes | memoryview = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("sop_class_uid", "sop_instance_uid", "transfer_syntax_uid"):
            if not is_uid(getattr(self, name)):
                raise InstanceRefused(
                    f"the {name.replace('_', ' ')[:-3]}UID of an instance is not a UID (PS3.5 section 9.1)"
                )
        if not len(self.data_set):
            raise InstanceRefused("an instance came without its data set")


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """A file that is durably ours.

    Attributes
    ----------
    stored_name : str
        Relative to the store, such as ``ab/ab12….dcm``; free of personal data.
    sha256 : str
        Of the whole file, hex.
    size : int
        Of the whole file, bytes.
    """

    stored_name: str
    sha256: str
    size: int


def is_uid(text: str) -> bool:
    """Whether a text is a UID: PS3.5 section 9.1."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def file_head(instance: EncodedInstance) -> bytes:
    """The preamble and the file meta group of an instance; always the same for the same UIDs."""
    elements = b"".join(
        (
            struct.pack("<HH2s2xI", 2, 0x0001, b"OB", 2) + b"\x00\x01",
            _uid(0x0002, instance.sop_class_uid),
            _uid(0x0003, instance.sop_instance_uid),
            _uid(0x0010, instance.transfer_syntax_uid),
            _uid(0x0012, IMPLEMENTATION_CLASS_UID),
            _short(0x0013, b"SH", _even(IMPLEMENTATION_VERSION.encode("ascii"), b" ")),
        )
    )
    return _PREAMBLE + _short(0x0000, b"UL", struct.pack("<I", len(elements))) + elements


def split_file(data: bytes | memoryview) -> EncodedInstance:
    """Take a Part 10 file apart: what its meta group says, and its data set, without decoding that.

    Raises
    ------
    InstanceRefused
        It is no such file, or its meta group is damaged or lacks a UID.
    """
    view = memoryview(data)
    if bytes(view[128:132]) != b"DICM":
        raise InstanceRefused("this is no DICOM file: its preamble is missing (PS3.10 section 7.1)")
    found: dict[int, str] = {}
    position = len(_PREAMBLE)
    end = position + _SMALLEST_META + _group_length(view)
    while position < end:
        number, vr, position, length = _element(view, position, end)
        if vr == b"UI":
            found[number] = bytes(view[position : position + length]).rstrip(b"\x00 ").decode("ascii", "replace")
        position += length
    return EncodedInstance(found.get(0x0002, ""), found.get(0x0003, ""), found.get(0x0010, ""), view[end:])


class InstanceStore:
    """Writes instances into our store; for any number of threads.

    Parameters
    ----------
    store : Path
        Root of the store.
    owner : str
        Begins the names of partial copies: letters, one owner for each process that writes.
    checkpoint : callable
        Called with each of `STEPS`, so that tests can stop a process there.
    """

    def __init__(self, store: Path, owner: str, *, checkpoint: Callable[[str], None] = lambda _: None) -> None:
        self._store = store
        self._owner = owner
        self._checkpoint = checkpoint
        self._writer = DirectWriter()
        self._numbers = itertools.count()
        self._durable: set[str] = set()

    def prepare(self) -> int:
        """Make the folders and remove what a killed process of the same owner left; gives the number of removed files.

        Raises
        ------
        StoreError
        """
        with store_errors():
            partials = self._store / _PARTIAL
            partials.mkdir(parents=True, exist_ok=True)
            leftovers = list(partials.glob(f"{glob.escape(partial_name(self._owner))}-*"))
            for leftover in leftovers:
                leftover.unlink(missing_ok=True)
            names = [f"{number:02x}" for number in range(256)]
            for name in names:  # once and for all: each would cost an instance two more waits for the disk
                (self._store / name).mkdir(exist_ok=True)
            sync_folder(self._store)
            self._durable.update(names)
        return len(leftovers)

    def keep(self, instance: EncodedInstance) -> StoredInstance:
        """Write an instance; on return it is durable under its final name.

        Raises
        ------
        StoreFull, StoreError
            Nothing was left behind.
        """
        with store_errors(), self._partial((file_head(instance), instance.data_set)) as (partial, sha256, size):
            folder, name = self._store / sha256[:2], f"{sha256[:2]}/{sha256}.dcm"
            self._make_durable(folder)
            partial.replace(self._store / name)
            self._checkpoint("renamed")
            sync_folder(folder)
        self._checkpoint("stored")
        return StoredInstance(name, sha256, size)

    @contextmanager
    def _partial(self, parts: Iterable[bytes | memoryview]) -> Iterator[tuple[Path, str, int]]:
        """Give a durable file under a temporary name, its hash and its size; it is removed unless it is renamed."""
        path = self._store / _PARTIAL / partial_name(f"{self._owner}-{os.getpid()}-{next(self._numbers)}")
        descriptor = open_new(path)
        try:
            try:
                self._checkpoint("partial")
                sha256, size = self._writer.write(descriptor, parts)
            finally:
                os.close(descriptor)
            self._checkpoint("synced")
            yield path, sha256, size
        finally:
            path.unlink(missing_ok=True)

    def _make_durable(self, folder: Path) -> None:
        """Make a folder of the store that may not have been prepared by us; several threads may do the same."""
        if folder.name not in self._durable:
            folder.mkdir(exist_ok=True)
            sync_folder(self._store)  # also after a restart: the former process may have died before its fsync
            self._durable.add(folder.name)


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value


def _short(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _uid(element: int, uid: str) -> bytes:
    return _short(element, b"UI", _even(uid.encode("ascii"), b"\x00"))


def _group_length(view: memoryview) -> int:
    number, vr, position, length = _element(view, len(_PREAMBLE), len(view))
    if (number, vr, length) != (0x0000, b"UL", 4):
        raise InstanceRefused("a DICOM file does not begin with the length of its file meta group (PS3.10 section 7.1)")
    (total,) = struct.unpack_from("<I", view, position)
    if total > min(_LARGEST_META, len(view) - position - length):
        raise InstanceRefused("the file meta group of a DICOM file ends before its stated length")
    return int(total)


def _element(view: memoryview, position: int, end: int) -> tuple[int, bytes, int, int]:
    """Element number, VR, place and length of the value of one element of the file meta group."""
    try:
        group, number, vr, length = struct.unpack_from("<HH2sH", view, position)
        position += 8
        if vr in (b"OB", b"UN", b"OW", b"UT", b"SQ"):
            (length,) = struct.unpack_from("<I", view, position)
            position += 4
    except struct.error:
        raise InstanceRefused("the file meta group of a DICOM file is cut off") from None
    if group != 2 or position + length > end:
        raise InstanceRefused("the file meta group of a DICOM file is damaged")
    return number, vr, position, length
