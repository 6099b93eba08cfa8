"""The skeleton of a data set: every element's place and length held against the file, before a library sees it.

Nothing is decoded and nothing recurses, so that no length, nesting or number in a hostile file costs more than a look.

Sources: PS3.5 section 7.1 (data elements), 7.5 (sequences and items), annex A.4 (encapsulated pixel data), PS3.10 section 7.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import Enum, auto

from integrations.dicom.catalogue import Syntax
from integrations.dicom.limits import ReaderLimits
from sphero_core.errors import DamagedImage, ImageTooLarge

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"}
    | {b"ST", b"TM", b"UI", b"UL", b"US"}
)
_AGAIN = "send or copy it again from the scanner"


class _Kind(Enum):
    DATA_SET = auto()
    ITEMS = auto()
    FRAGMENTS = auto()


@dataclass(frozen=True, slots=True)
class _Level:
    kind: _Kind
    end: int | None  # None: a delimiter ends it
    bound: int  # nothing inside may reach beyond
    implicit: bool


def inflate(data: bytes | memoryview, limits: ReaderLimits) -> bytes:
    """Inflate a deflated data set (PS3.5 annex A.5), up to `limits.max_bytes`.

    Raises
    ------
    ImageTooLarge, DamagedImage
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, limits.max_bytes)
    except zlib.error:
        raise DamagedImage(f"The deflated DICOM data set is corrupt: {_AGAIN}.") from None
    if inflater.unconsumed_tail:
        raise ImageTooLarge(
            f"The deflated DICOM data set grows beyond the {limits.max_bytes:,} bytes that are read: "
            "send it in another transfer syntax."
        )
    if not inflater.eof:
        raise DamagedImage(f"The deflated DICOM data set ends too early: {_AGAIN}.")
    return inflated


def check_structure(data: bytes | memoryview, syntax: Syntax, limits: ReaderLimits) -> int:
    """Hold every element of a data set against the file and the limits.

    Parameters
    ----------
    data : bytes-like
        The data set, inflated.
    syntax : Syntax
    limits : ReaderLimits

    Returns
    -------
    int
        Number of elements and items.

    Raises
    ------
    DamagedImage, ImageTooLarge
    """
    return _Walk(data, syntax, limits).run()


class _Walk:
    def __init__(self, data: bytes | memoryview, syntax: Syntax, limits: ReaderLimits) -> None:
        self._data = memoryview(data)
        self._limits = limits
        self._order = ">" if syntax.big_endian else "<"
        size = len(data)
        self._stack = [_Level(_Kind.DATA_SET, size, size, syntax.implicit)]
        self._position = 0
        self._count = 0

    def run(self) -> int:
        while self._stack:
            level = self._stack[-1]
            if level.end is not None and (self._position >= level.end or self._is_padding(level)):
                self._stack.pop()
            elif level.kind is _Kind.DATA_SET:
                self._element(level)
            else:
                self._item(level)
            if self._count > self._limits.max_elements or len(self._stack) > 2 * self._limits.max_depth:
                raise ImageTooLarge(
                    f"The DICOM object has more than {self._limits.max_elements:,} elements, or more than "
                    f"{self._limits.max_depth} sequences within each other: send single images."
                )
        return self._count

    def _is_padding(self, level: _Level) -> bool:
        """Whether nothing but a few zero bytes is left of the whole data set."""
        left = self._data[self._position : level.end]
        return len(self._stack) == 1 and len(left) < 8 and not any(left)

    def _element(self, level: _Level) -> None:
        tag = self._tag(level)
        if tag == _ITEM_END and level.end is None:
            self._take(8, level)
            self._stack.pop()
            return
        if tag >> 16 == 0xFFFE:
            raise self._damaged("an item stands outside of a sequence")
        vr, length = self._header(level)
        self._count += 1
        if length == _UNDEFINED:
            self._open(tag, vr, level)
        elif vr == b"SQ":
            end = self._end_of(length, level)
            self._stack.append(_Level(_Kind.ITEMS, end, end, level.implicit))
        else:
            self._position = self._end_of(length, level)

    def _open(self, tag: int, vr: bytes, level: _Level) -> None:
        """Begin a value without a length: a sequence, or encapsulated pixels."""
        if tag == _PIXEL_DATA and vr in (b"OB", b"OW", b""):
            self._stack.append(_Level(_Kind.FRAGMENTS, None, level.bound, level.implicit))
        elif vr in (b"SQ", b"UN", b""):
            self._stack.append(_Level(_Kind.ITEMS, None, level.bound, level.implicit or vr == b"UN"))
        else:
            raise self._damaged("an element that is no sequence has no length")

    def _item(self, level: _Level) -> None:
        tag = self._tag(level)
        (length,) = struct.unpack_from(self._order + "I", self._data, self._take(8, level) + 4)
        self._count += 1
        if tag == _SEQUENCE_END and level.end is None:
            self._stack.pop()
        elif tag != _ITEM:
            raise self._damaged("a sequence holds something that is no item")
        elif level.kind is _Kind.FRAGMENTS:
            self._position = self._end_of(length, level)
        elif length == _UNDEFINED:
            self._stack.append(_Level(_Kind.DATA_SET, None, level.bound, level.implicit))
        else:
            end = self._end_of(length, level)
            self._stack.append(_Level(_Kind.DATA_SET, end, end, level.implicit))

    def _tag(self, level: _Level) -> int:
        if self._position + 8 > level.bound:
            raise self._damaged("it ends inside of an element")
        group, element = struct.unpack_from(self._order + "HH", self._data, self._position)
        return int(group) << 16 | int(element)

    def _header(self, level: _Level) -> tuple[bytes, int]:
        """VR (empty where implicit) and length of the element at hand; the position is then that of its value."""
        place = self._take(8, level)
        if level.implicit:
            return b"", int(struct.unpack_from(self._order + "I", self._data, place + 4)[0])
        vr = bytes(self._data[place + 4 : place + 6])
        if vr in _SHORT:
            return vr, int(struct.unpack_from(self._order + "H", self._data, place + 6)[0])
        if vr not in _LONG:
            raise self._damaged("an element has no value representation of the standard (PS3.5 section 6.2)")
        return vr, int(struct.unpack_from(self._order + "I", self._data, self._take(4, level))[0])

    def _take(self, count: int, level: _Level) -> int:
        place = self._position
        self._position = self._end_of(count, level)
        return place

    def _end_of(self, length: int, level: _Level) -> int:
        end = self._position + length
        if end > level.bound:
            raise self._damaged("an element is longer than what is left of the file")
        return end

    def _damaged(self, what: str) -> DamagedImage:
        return DamagedImage(f"The DICOM object is cut off or corrupt at byte {self._position:,}: {what}; {_AGAIN}.")
