"""Messages in a file: FHS BHS {message} BTS FTS (HL7 2.5.1, 2.10.3), put into a folder that the receiver empties.

The file is delivered when it is durably there under its name. It is written under a hidden temporary name, so that a
receiver that looks for its suffix never meets half of one. Name and bytes come from the messages alone: what is written
again after a crash is the same file, and a receiver that took the first one knows the second by its name and by FHS-11.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from integrations.errors import FramingError
from integrations.folder.durable import sync_folder, write_durably
from integrations.hl7.ack import Outcome
from integrations.hl7.er7 import Segment, split_segments
from integrations.hl7.mllp import Delivery

SUFFIX = ".hl7"
PARTIAL = ".part"
STEPS = ("batch written", "batch renamed", "batch durable")
"""Names of the checkpoints, in order."""

MAX_HEADER_BYTES = 64 * 1024


class BatchFolder:
    """A folder into which files of messages are put, for one sender at a time.

    The folder is never made here: one that is missing is a share that is not mounted.

    Parameters
    ----------
    folder : Path
    checkpoint : callable
        Called with the name of each step, for tests that kill the process there.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        checkpoint: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._checkpoint = checkpoint
        self._clock = clock
        self._tidied = False

    def probe(self) -> str | None:
        """Return None where a file can be put into the folder, or in words why not; removes what a crash left half done."""
        if not self.folder.is_dir():
            return "the folder is not there"
        if not os.access(self.folder, os.W_OK | os.X_OK):
            return "the folder may not be written"
        if not self._tidied:
            for left in self.folder.glob(f".*{SUFFIX}{PARTIAL}"):
                left.unlink(missing_ok=True)
            self._tidied = True
        return None

    def put(self, number: int, messages: Sequence[bytes]) -> Delivery:
        """Write one file, durably.

        Parameters
        ----------
        number : int
            Of the file, counted up: a receiver that takes files in the order of their names keeps the order of a case.
        messages : sequence of bytes
            At least one; of one sender, receiver and character set.

        Raises
        ------
        FramingError
            A message holds what would end it early in a file. Nothing was written.
        """
        started = self._clock()
        name, content = batch_file(number, messages)
        target, partial = self.folder / name, self.folder / f".{name}{PARTIAL}"
        try:
            write_durably(partial, content)
            self._checkpoint("batch written")
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            return Delivery(Outcome.REFUSED, f"no file was written: {_words(error)}", self._clock() - started)
        self._checkpoint("batch renamed")
        try:
            sync_folder(self.folder)
        except OSError as error:
            return Delivery(Outcome.UNKNOWN, f"the file may not last: {_words(error)}", self._clock() - started)
        self._checkpoint("batch durable")
        return Delivery(Outcome.ACKNOWLEDGED, f"in the file {name}", self._clock() - started)


def batch_file(number: int, messages: Sequence[bytes]) -> tuple[str, bytes]:
    """Give a file's name and bytes; equal arguments give equal ones, and neither tells whom the messages are about.

    Raises
    ------
    FramingError
        A message is no HL7, or would end early or be taken for several in a file.
    """
    headers = [_header(message) for message in messages]
    digest = hashlib.sha256()
    for message in messages:
        digest.update(len(message).to_bytes(8, "big"))
        digest.update(message)
    mark = digest.hexdigest()[:20]
    name = f"{number:010d}-{mark}{SUFFIX}"
    of = headers[0]
    separators, parties = of.field(2), [of.field(place) for place in (3, 4, 5, 6)]
    made = max(headers, key=lambda header: header.field(7)).field(7)

    def opening(segment: str, title: str) -> str:
        return "|".join([segment, separators, *parties, made, "", title, "", mark]) + "\r"

    begin = opening("FHS", name) + opening("BHS", "")
    end = f"BTS|{len(messages)}\rFTS|1\r"
    whole = b"".join(message if message.endswith(b"\r") else message + b"\r" for message in messages)
    return name, begin.encode("latin-1") + whole + end.encode("ascii")


def _header(message: bytes) -> Segment:
    """MSH, its characters kept one to a byte, so that it goes back as it came whatever the character set is."""
    text = message.decode("latin-1")
    try:
        header, *others = split_segments(text, text.count("\r") + text.count("\n") + 1)
    except ValueError as error:
        raise FramingError(f"the message {error}; it cannot stand in a file") from None
    if header.field(1) != "|" or any(segment.name in ("MSH", "FHS", "BHS", "BTS", "FTS") for segment in others):
        raise FramingError("the message holds a segment that begins or ends a message in a file; it cannot be sent")
    return header


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__
