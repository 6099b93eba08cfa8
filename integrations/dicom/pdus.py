"""PDUs that carry data (PS3.8 section 9.3.5), taken apart without copying them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom.pdu_primitives import P_DATA

_P_DATA_TF = 0x04
_PDU_HEAD = 6  # type, reserved, length
_ITEM_HEAD = struct.Struct(">IB")  # length, presentation context
_DATA = "Evt10"  # P-DATA-TF received (PS3.8 table 9-10)


@dataclass(frozen=True, slots=True)
class _DataPdu:
    """A P-DATA-TF PDU that was taken apart already."""

    primitive: P_DATA

    def to_primitive(self) -> P_DATA:
        """What pynetdicom's state machine asks a PDU for."""
        return self.primitive


def fragments_of(pdu: bytearray) -> P_DATA:
    """Take a P-DATA-TF PDU apart (PS3.8 section 9.3.5); nothing is copied, where pynetdicom copies each byte four times.

    Raises
    ------
    ValueError, struct.error
        An item does not fit; pynetdicom then aborts the association.
    """
    primitive = P_DATA()
    view, position = memoryview(pdu), _PDU_HEAD
    while position < len(view):
        length, context = _ITEM_HEAD.unpack_from(view, position)
        begin, position = position + _ITEM_HEAD.size, position + 4 + length
        if begin >= position or position > len(view):
            raise ValueError("a presentation data value does not fit into its PDU")
        primitive.presentation_data_value_list.append((context, view[begin:position]))
    return primitive


def decoded(pdu: bytearray, decode: Callable[[bytearray], Any]) -> Any:
    """Take a received PDU apart; all but those with data as pynetdicom does, which is `decode`.

    Returns
    -------
    tuple
        The PDU, and its event of the state machine.

    Raises
    ------
    ValueError, struct.error
    """
    if pdu[0] != _P_DATA_TF:
        return decode(pdu)
    return _DataPdu(fragments_of(pdu)), _DATA
