"""What is refused: of an association, and of a DICOM object before, or instead of, being decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """Limits of one object; those of pixels are the ones of other images (`sphero_core.image.ImageLimits`).

    Attributes
    ----------
    max_bytes : int
        Of the file, and of its data set after inflating.
    max_elements : int
        Elements and items, at every depth.
    max_depth : int
        Sequences within sequences.
    max_pixels : int
        Rows times Columns.
    max_side : int
        The larger of the two.
    max_frames : int
    max_all_pixels : int
        Of all frames together.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_elements: int = 100_000
    max_depth: int = 16
    max_pixels: int = 48_000_000
    max_side: int = 12_000
    max_frames: int = 1_000
    max_all_pixels: int = 2_000_000_000


DEFAULT_LIMITS = ReaderLimits()


@dataclass(frozen=True, slots=True)
class AssociationLimits:
    """How much and how long an association may take.

    Attributes
    ----------
    max_associations : int
        At the same time; one more is rejected as transient, so that its requestor tries again.
    max_data_set_bytes : int
        Of one C-STORE, and of all together that one association sent before the first of them is looked at.
    max_command_bytes : int
        Of one command set.
    pdu_bytes : int
        The PDU length that we ask for (PS3.8 annex D.1).
    max_pdu_bytes : int
        Longer PDUs end the connection: association requests, and peers that ignore what we ask for.
    max_waiting : int
        Messages that one association may send before the first is answered.
    handshake_seconds : float
        For the TLS handshake, and once more for the association request.
    pdu_seconds : float
        From the first byte of a PDU to its last, and for handing over one of ours.
    idle_seconds : float
        Without any PDU of the peer.
    """

    max_associations: int = 16
    max_data_set_bytes: int = 512 * 1024 * 1024
    max_command_bytes: int = 64 * 1024
    pdu_bytes: int = 131_072
    max_pdu_bytes: int = 1024 * 1024
    max_waiting: int = 4
    handshake_seconds: float = 15.0
    pdu_seconds: float = 30.0
    idle_seconds: float = 60.0
