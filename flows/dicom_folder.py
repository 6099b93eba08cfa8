"""DICOM files of the watched folder: instances like those that come over the network, under the folder's case."""

from __future__ import annotations

import os
from pathlib import Path

from db.instance_views import InstanceOutcome
from db.session import Database
from db.states import HoldReason
from flows.dicom_accept import InstanceDesk
from flows.dicom_assembly import ACTOR, FOLDER, Assembly
from flows.dicom_identity import CaseKey
from flows.taken import Taken
from integrations.dicom.limits import DEFAULT_LIMITS
from integrations.dicom.part10 import EncodedInstance, split_file
from integrations.errors import SourceChanged, SourceRefused
from integrations.folder.source import SeenFile, is_unchanged, open_source, source_errors

_MAGIC_AT, _MAGIC = 128, b"DICM"
OTHER_CONTENT = (
    "Another DICOM object came before under the same SOP Instance UID: both are kept and the case is held; "
    "find out at the scanner which one is right."
)


class DicomFolder:
    """Takes DICOM files in; for one thread at a time.

    Parameters
    ----------
    incoming : Path
    database : Database
    desk : InstanceDesk
    assembly : Assembly
    """

    def __init__(self, *, incoming: Path, database: Database, desk: InstanceDesk, assembly: Assembly) -> None:
        self._incoming = incoming
        self._database = database
        self._desk = desk
        self._assembly = assembly

    def recognises(self, file: SeenFile) -> bool:
        """Whether a file is DICOM, by its content (PS3.10 section 7.1).

        Raises
        ------
        SourceGone, SourceChanged, SourceUnreadable, SourceRefused
        """
        with open_source(self._incoming, file) as descriptor, source_errors():
            return os.pread(descriptor, len(_MAGIC), _MAGIC_AT) == _MAGIC

    def take(self, file: SeenFile, accession: str) -> tuple[Taken, str]:
        """Make a file durably ours and its frames fields of the folder's case; gives the instance's hash, too.

        Raises
        ------
        ImageError, InstanceRefused, SourceRefused
            It cannot be used: the caller puts the original aside.
        SourceGone, SourceChanged, SourceUnreadable, SandboxFailed, StoreFull, StoreError, DatabaseError
            Nothing is lost; look again later.
        """
        received = self._desk.accept(self._read(file), source=FOLDER)
        if received.outcome is InstanceOutcome.CONFLICT:
            with self._database.transaction(ACTOR) as work:
                work.cases.hold(work.identities.find_or_create(accession), HoldReason.CONFLICT)
            raise SourceRefused(OTHER_CONTENT)
        return self._assembly.assemble_under(received.instance, CaseKey(accession)), received.instance.sha256

    def _read(self, file: SeenFile) -> EncodedInstance:
        if file.size > DEFAULT_LIMITS.max_bytes:
            raise SourceRefused(
                f"The DICOM file has {file.size:,} bytes, more than the {DEFAULT_LIMITS.max_bytes:,} that are read: "
                "export single fields of view."
            )
        with open_source(self._incoming, file) as descriptor:
            with source_errors(), os.fdopen(descriptor, "rb", closefd=False) as stream:
                data = stream.read(file.size)
            if len(data) != file.size or not is_unchanged(self._incoming, file):
                raise SourceChanged("The file changed while it was read: it is taken once it stops changing.")
        return split_file(data)
