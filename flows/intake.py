"""From the watched folder to fields: files taken in, refused ones kept aside.

Nothing here knows Prefect. Every step may be repeated: a file is copied by its content, its row is committed, and only
then it is moved away; what was interrupted is found again by the next look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from db.session import Database, UnitOfWork
from db.views import QuarantineView
from flows.dicom_folder import DicomFolder
from flows.taken import Pile, Taken
from integrations.errors import (
    InstanceRefused,
    ManifestError,
    SandboxFailed,
    SourceChanged,
    SourceError,
    SourceGone,
    SourceRefused,
)
from integrations.folder.done import Moved
from integrations.folder.manifest import Manifest, accession_from_folder, read_manifest
from integrations.folder.memory import Memory
from integrations.folder.scanner import MISPLACED, CaseFolder, NoScanner, Scan, Scanner
from integrations.folder.source import SeenFile
from integrations.folder.staging import StagedFile, Staging
from sphero_core.errors import ImageError, UnreadableImage
from sphero_core.types import ImageInfo

log = logging.getLogger(__name__)

ACTOR = "intake"
MANIFEST_REFUSED = "case.json"
"""How the reasons of refused manifests begin; other refused files are pictures, or were meant to be."""

PageInfo = Callable[[Path, int], ImageInfo]


class Intake:
    """The watched folder of one site; for one thread at a time.

    Parameters
    ----------
    incoming, store : Path
    database : Database
    scanner : Scanner or NoScanner
    staging : Staging
    memory : Memory
    page_info : callable
        ``(path, page) -> ImageInfo`` of a stored file.
    dicom : DicomFolder
        Takes the DICOM files.
    """

    def __init__(
        self,
        *,
        incoming: Path,
        store: Path,
        database: Database,
        scanner: Scanner | NoScanner,
        staging: Staging,
        memory: Memory,
        page_info: PageInfo,
        dicom: DicomFolder,
    ) -> None:
        self._incoming = incoming
        self._store = store
        self._database = database
        self._scanner = scanner
        self._staging = staging
        self._memory = memory
        self._page_info = page_info
        self._dicom = dicom

    def look(self) -> Scan:
        """Look into the folder once.

        Raises
        ------
        FolderUnavailable
        """
        return self._scanner.scan()

    def take(self, folder: CaseFolder) -> Taken:
        """Take in the ready files of one case's folder.

        Raises
        ------
        StoreFull, StoreError, DatabaseError
            Nothing is lost; look again later.
        """
        pile = Pile()
        try:
            accession = self.accession_of(folder)
        except ManifestError as error:
            for file in folder.ready:
                self._refuse(file, None, str(error), pile)
        else:
            for file in folder.ready:
                self._take_file(file, accession, pile)
        return pile.taken()

    def take_misplaced(self, files: tuple[SeenFile, ...]) -> Taken:
        """Put files that belong to no case aside."""
        pile = Pile()
        for file in files:
            self._refuse(file, None, MISPLACED, pile)
        return pile.taken()

    def take_manifest(self, file: SeenFile) -> None:
        """Move a `case.json` away whose content is recorded."""
        self._clear(file, None)

    def refuse_manifest(self, file: SeenFile, accession: str, reason: str) -> None:
        """Put a `case.json` aside that cannot be used."""
        if not reason.startswith(MANIFEST_REFUSED):
            reason = f"{MANIFEST_REFUSED}: {reason}"
        self._refuse(file, accession, reason, Pile())

    def accession_of(self, folder: CaseFolder) -> str:
        """The accession number under which a folder's files arrive: its name, or else what its `case.json` says.

        Raises
        ------
        ManifestError
            There is none.
        """
        try:
            return accession_from_folder(folder.name)
        except ManifestError:
            manifest = self.read(folder.manifest) if folder.manifest else None
            if manifest is not None and manifest.accession is not None:
                return manifest.accession
            raise

    def read(self, manifest: SeenFile) -> Manifest | None:
        """Read a `case.json`; None where it cannot be opened now.

        Raises
        ------
        ManifestError
        """
        try:
            return read_manifest(self._incoming, manifest)
        except SourceError:
            return None

    def _take_file(self, file: SeenFile, accession: str, pile: Pile) -> None:
        try:
            if self._dicom.recognises(file):
                taken, sha256 = self._dicom.take(file, accession)
                pile.add(taken)
                self._clear(file, sha256)
                return
            staged = self._staging.accept(file)
            pages = self._pages(staged)
        except (UnreadableImage, SandboxFailed) as error:
            # Our own copy could not be read, or our reader does not work: no fault of the file.
            log.warning("a file is not taken now: %s", error)
            pile.later += 1
            return
        except (ImageError, SourceRefused, InstanceRefused) as refusal:
            self._refuse(file, accession, str(refusal), pile)
            return
        except SourceError as error:
            self._not_now(error, pile)
            return
        with self._database.transaction(ACTOR) as work:
            for number, page in enumerate(pages):
                accepted = work.fields.accept(
                    _source_key(file),
                    accession=accession,
                    sha256=staged.sha256,
                    frame=number,
                    size_bytes=staged.size,
                    media_type=page.media_type,
                    width=page.width,
                    height=page.height,
                    stored_name=staged.stored_name,
                )
                pile.case_id = accepted.case_id
                pile.fields += accepted.new
                pile.known += not accepted.new
        self._clear(file, staged.sha256)

    def _pages(self, staged: StagedFile) -> list[ImageInfo]:
        others = (self._page_info(self._store / staged.stored_name, page) for page in range(1, staged.info.frames))
        return [staged.info, *others]

    def _refuse(self, file: SeenFile, accession: str | None, reason: str, pile: Pile) -> None:
        try:
            kept = self._staging.quarantine(file, reason)
        except SourceError as error:
            self._not_now(error, pile)
            return
        with self._database.transaction(ACTOR) as work:
            work.fields.quarantine_file(
                _source_key(file),
                accession=accession,
                sha256=kept.sha256,
                size_bytes=kept.size,
                reason=reason,
                stored_name=kept.stored_name,
            )
            if accession is not None:
                pile.case_id = work.identities.find(accession)
        self._clear(file, kept.sha256)
        pile.refused.append(reason)

    def _not_now(self, error: SourceError, pile: Pile) -> None:
        if not isinstance(error, SourceGone | SourceChanged):
            log.warning("a file is not taken now: %s", error)
        pile.later += 1

    def _clear(self, file: SeenFile, sha256: str | None) -> None:
        if self._staging.move_to_done(file) is Moved.KEPT:
            self._memory.remember(file, sha256)


def refused_pictures(work: UnitOfWork, case_id: str) -> tuple[QuarantineView, ...]:
    """The refused files of a case that were to be fields."""
    files = work.fields.quarantined_files(case_id)
    return tuple(file for file in files if not file.reason.startswith(MANIFEST_REFUSED))


def _source_key(file: SeenFile) -> str:
    return f"{file.key} {file.size} {file.mtime_ns}"
