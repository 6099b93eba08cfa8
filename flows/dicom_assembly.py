"""From accepted DICOM instances to the fields of cases; every step may be repeated.

    received -> header and pixels read in the sandbox -> case found or begun -> fields, one a frame -> assembled
                what cannot be read: refused, and recorded as a refused file of its case where it names one

The decoded frames are durable before a field is committed, and an instance is assembled in the same transaction as its
fields: one that was interrupted is taken up again by the next look.
"""

from __future__ import annotations

import logging

from db.header_views import InstanceHeaderView
from db.instance_views import InstanceView
from db.session import Database, UnitOfWork
from db.states import InstanceState
from flows.dicom_identity import CaseKey, case_key, header_view
from flows.taken import Taken
from integrations.dicom.frames import MEDIA_TYPE, FrameStore
from integrations.dicom.header import Header
from integrations.errors import SandboxFailed
from sphero_core.errors import ImageError, UnreadableImage

log = logging.getLogger(__name__)

ACTOR = "dicom"
FOLDER = "folder"
"""Source of the instances whose case the watched folder names; the folder assembles them."""

_AT_ONCE = 200  # instances in one look


class Assembly:
    """Makes fields of instances; for one thread at a time.

    Parameters
    ----------
    database : Database
    frames : FrameStore
    """

    def __init__(self, database: Database, frames: FrameStore) -> None:
        self._database = database
        self._frames = frames

    def waiting(self) -> tuple[InstanceView, ...]:
        """The instances that came over the network and of which nothing became yet, in the order they came.

        Raises
        ------
        DatabaseError
        """
        with self._database.reading() as work:
            return work.instances.waiting(but_from=FOLDER, limit=_AT_ONCE)

    def assemble(self, instance: InstanceView) -> Taken:
        """Make the frames of one instance fields of the case that it names.

        Raises
        ------
        StoreFull, StoreError, DatabaseError
            Nothing is lost; try again later.
        """
        header: Header | None = None
        try:
            header = self._frames.header(instance.stored_name)
            self._frames.keep(instance.stored_name, header.pixels.frames)
        except (UnreadableImage, SandboxFailed) as error:  # our own copy, or our own reader: not the instance's fault
            log.warning("an instance is not read now: %s", error, extra={"instance": instance.instance_id})
            return Taken(later=1)
        except ImageError as refusal:
            return self._refuse(instance, header, str(refusal))
        with self._database.transaction(ACTOR) as work:
            view = header_view(header)
            return _join(work, instance, view, case_key(work, view))

    def assemble_under(self, instance: InstanceView, key: CaseKey) -> Taken:
        """Make the frames of one instance fields of the case that whoever brought it names.

        Parameters
        ----------
        instance : InstanceView
            Received; or assembled or refused before, and come again.
        key : CaseKey

        Raises
        ------
        ImageError
            It cannot be used, which is recorded; the caller keeps the original.
        SandboxFailed, StoreFull, StoreError, DatabaseError
            Nothing is lost; try again later.
        """
        try:
            header = self._frames.header(instance.stored_name)
            self._frames.keep(instance.stored_name, header.pixels.frames)
        except UnreadableImage:
            raise
        except ImageError as refusal:
            if instance.state is InstanceState.RECEIVED:
                with self._database.transaction(ACTOR) as work:
                    work.instances.refuse(instance.instance_id, str(refusal))
            raise
        with self._database.transaction(ACTOR) as work:
            return _join(work, instance, header_view(header), key)

    def _refuse(self, instance: InstanceView, header: Header | None, reason: str) -> Taken:
        """Keep what cannot be used with the reason; its case, where it names one, has to tell of it."""
        with self._database.transaction(ACTOR) as work:
            key = None if header is None else case_key(work, header_view(header))
            work.instances.refuse(instance.instance_id, reason)
            work.fields.quarantine_file(
                f"dicom {instance.instance_id}",
                accession=key.number if key else None,
                accession_issuer=key.issuer if key else None,
                sha256=instance.sha256,
                size_bytes=instance.size_bytes,
                reason=reason,
                stored_name=instance.stored_name,
            )
            case_id = work.identities.find(key.number, key.issuer) if key else None
        log.warning("an instance is refused: %s", reason, extra={"instance": instance.instance_id, "case": case_id})
        return Taken(case_id, refused=(reason,))


def _join(work: UnitOfWork, instance: InstanceView, view: InstanceHeaderView, key: CaseKey) -> Taken:
    """Commit the fields of an instance together with what it says of itself."""
    case_id, new = None, 0
    for frame in range(view.frames):
        accepted = work.fields.accept(
            f"dicom {instance.instance_id} {key.number} {key.issuer or ''}",
            accession=key.number,
            accession_issuer=key.issuer,
            sha256=instance.sha256,
            frame=frame,
            size_bytes=instance.size_bytes,
            media_type=MEDIA_TYPE,
            width=view.columns,
            height=view.rows,
            stored_name=instance.stored_name,
        )
        case_id = accepted.case_id
        new += accepted.new
    work.headers.record(instance.instance_id, view)
    if case_id is not None and instance.state is InstanceState.RECEIVED:
        work.instances.assembled(instance.instance_id, case_id, study_uid=view.study_uid, series_uid=view.series_uid)
    return Taken(case_id, new, view.frames - new)
