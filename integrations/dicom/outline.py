"""What an instance says of itself before it is taken: whole, and the one its sender says it is. No pixel is decoded.

A data set that ends within an element, as pynetdicom passes it on, is found out here: see `integrations.dicom.structure`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integrations.dicom.catalogue import SYNTAXES, Syntax
from integrations.dicom.limits import DEFAULT_LIMITS, ReaderLimits
from integrations.dicom.part10 import EncodedInstance, is_uid
from integrations.dicom.structure import check_structure, inflate
from integrations.errors import InstanceMismatch, InstanceRefused
from sphero_core.errors import DamagedImage, ImageTooLarge

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

_SOP_CLASS, _SOP_INSTANCE = 0x0008_0016, 0x0008_0018
_STUDY, _SERIES = 0x0020_000D, 0x0020_000E
_WANTED: list[BaseTag | int] = [_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES]


@dataclass(frozen=True, slots=True)
class Outline:
    """Where an instance belongs; None where the data set does not say it."""

    study_uid: str | None
    series_uid: str | None


class _Window(io.RawIOBase):
    """A look into memory as a stream."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = (0, self._position, len(self._data))[whence] + offset
        return self._position

    def readinto(self, target: Any) -> int:
        piece = self._data[self._position : self._position + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def check_instance(instance: EncodedInstance, limits: ReaderLimits = DEFAULT_LIMITS) -> Outline:
    """Hold an instance against what its sender says of it.

    Raises
    ------
    InstanceMismatch
        Its data set has another SOP class or SOP instance UID.
    InstanceRefused
        It is cut off, corrupt, too large, in a transfer syntax that is not read, or does not name itself.
    """
    syntax = SYNTAXES.get(instance.transfer_syntax_uid)
    if syntax is None:
        raise InstanceRefused(f"the transfer syntax {instance.transfer_syntax_uid} is not read: send another one")
    try:
        data = inflate(instance.data_set, limits) if syntax.deflated else instance.data_set
        check_structure(data, syntax, limits)
    except (DamagedImage, ImageTooLarge) as error:
        raise InstanceRefused(str(error)) from None
    head = _head(data, syntax)
    if _uid(head, _SOP_INSTANCE) != instance.sop_instance_uid or _uid(head, _SOP_CLASS) != instance.sop_class_uid:
        raise InstanceMismatch("SOP class or SOP instance UID of the data set are not those of its sender")
    return Outline(_uid(head, _STUDY), _uid(head, _SERIES))


def _head(data: bytes | memoryview, syntax: Syntax) -> Dataset:
    from pydicom.filereader import read_dataset  # here: a service that gets no DICOM starts without it

    stream = io.BytesIO(data) if isinstance(data, bytes) else io.BufferedReader(_Window(data))  # neither copies it
    try:
        return read_dataset(
            stream,
            is_implicit_VR=syntax.implicit,
            is_little_endian=not syntax.big_endian,
            stop_when=_is_beyond,
            specific_tags=_WANTED,
        )
    except Exception as error:  # noqa: BLE001  # pydicom raises of every kind on damaged input
        raise InstanceRefused(f"the head of the data set cannot be read ({type(error).__name__})") from None


def _is_beyond(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > _SERIES)


def _uid(head: Dataset, tag: int) -> str | None:
    """A UID of the head; None where it is not there or is none."""
    try:
        text = str(head[tag].value)
    except Exception:  # noqa: BLE001  # a value is converted when it is looked at
        return None
    return text if is_uid(text) else None
