"""Decoded frames, beside their instance in our store: what the detector reads, which knows no DICOM.

The frame n of ``ab/ab12….dcm`` is ``ab/ab12….n.png``: RGB, lossless, made once from the instance and at any time again.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from integrations.dicom.header import Header
from integrations.dicom.sandbox import Sandbox
from integrations.folder.durable import partial_name, store_errors, sync_folder

MEDIA_TYPE = "application/dicom"
_PARTIAL = ".partial"
_SUFFIX = ".dcm"


def frame_name(stored_name: str, frame: int) -> str:
    """Name in the store of a decoded frame, counted from 0, of an instance stored under `stored_name`."""
    return f"{stored_name.removesuffix(_SUFFIX)}.{frame}.png"


class FrameStore:
    """Decodes instances of our store; for any number of threads.

    Parameters
    ----------
    store : Path
        Root of the store, with its folder for partial files.
    sandbox : Sandbox
    """

    def __init__(self, store: Path, sandbox: Sandbox) -> None:
        self._store = store
        self._sandbox = sandbox
        self._numbers = itertools.count()

    def header(self, stored_name: str) -> Header:
        """Read everything but the pixels of an instance.

        Raises
        ------
        ImageError, SandboxFailed
        """
        return self._sandbox.header(self._store / stored_name)

    def keep(self, stored_name: str, frames: int) -> None:
        """Decode every frame of an instance; on return they are durable. Does nothing where they are there.

        Raises
        ------
        ImageError
            No frame is kept.
        SandboxFailed, StoreFull, StoreError
            Nothing is known about the file; try again later.
        """
        names = [frame_name(stored_name, frame) for frame in range(frames)]
        if all((self._store / name).exists() for name in names):
            return
        prefix = self._store / _PARTIAL / partial_name(f"frames-{os.getpid()}-{next(self._numbers)}")
        self._sandbox.frames(self._store / stored_name, prefix)
        with store_errors():
            for frame, name in enumerate(names):
                partial = prefix.with_name(f"{prefix.name}.{frame}")
                _sync(partial)
                partial.replace(self._store / name)
            sync_folder((self._store / stored_name).parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
