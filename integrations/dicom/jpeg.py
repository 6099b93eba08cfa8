"""Whether a JPEG file may stand in a DICOM object as it is: JPEG baseline (process 1), 8 bits, three components."""

from __future__ import annotations

from dataclasses import dataclass

_BASELINE = 0xC0
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF markers, ITU-T T.81 table B.1
_ADOBE, _EXIF, _SCAN = 0xEE, 0xE1, 0xDA
_MOST_SEGMENTS = 2_000


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What the header of a baseline colour JPEG says.

    Attributes
    ----------
    columns, rows : int
    photometric : str
        (0028,0004): ``YBR_FULL_422``, ``YBR_FULL`` or ``RGB``.
    """

    columns: int
    rows: int
    photometric: str


def baseline_frame(data: bytes) -> JpegFrame | None:
    """Read the header of a JPEG; None where it cannot be encapsulated as it is and has to be decoded.

    Files with Exif data are left to the decoder too: they may be turned, and may hold what belongs to nobody else.

    Parameters
    ----------
    data : bytes
        A whole file that was decoded before without an error.
    """
    at, adobe = 2, -1
    frame: JpegFrame | None = None
    for _ in range(_MOST_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return None
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : at + 2 + length]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _EXIF or (marker in _FRAMES and marker != _BASELINE):
            return None
        if marker == _ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker == _BASELINE:
            frame = _frame(body)
        elif marker == _SCAN:
            return None if frame is None else JpegFrame(frame.columns, frame.rows, _photometric(frame, adobe))
        at += 2 + length
    return None


def _frame(body: bytes) -> JpegFrame | None:
    if len(body) != 15 or body[0] != 8 or body[5] != 3:
        return None
    rows, columns = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    sampled = body[7] != 0x11
    named_rgb = bytes(body[6::3]) == b"RGB"
    if not rows or not columns:
        return None
    return JpegFrame(columns, rows, "RGB" if named_rgb else "YBR_FULL_422" if sampled else "YBR_FULL")


def _photometric(frame: JpegFrame, adobe: int) -> str:
    # Adobe's transform 0 says that the components are RGB.
    return "RGB" if adobe == 0 else frame.photometric
