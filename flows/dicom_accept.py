"""One instance that came, made durably ours: looked at, the file, then its row, then the sender may be told.

    accept = InstanceDesk(database, store).accept
    accept(instance, source="receiver", calling_ae="SCANNER")      # NEW, REPEATED or CONFLICT

Every way by which instances come (receiver, C-GET, WADO-RS, folder) goes through here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from db.instance_views import InstanceOutcome, ReceivedInstance
from db.session import Database
from integrations.dicom.limits import DEFAULT_LIMITS, ReaderLimits
from integrations.dicom.outline import check_instance
from integrations.dicom.part10 import EncodedInstance, InstanceStore

log = logging.getLogger(__name__)

ACTOR = "dicom"
STEPS = ("filed", "recorded")


class InstanceDesk:
    """Accepts instances; for any number of threads.

    Parameters
    ----------
    database : Database
    store : InstanceStore
        Prepared.
    limits : ReaderLimits
        Of what is looked at; a deflated data set may not grow beyond `max_bytes`.
    check_room : callable
        Raises `StoreFull` while nothing may be taken in; see `flows.disk`.
    checkpoint : callable
        Called with each of `STEPS`, so that tests can stop a process there.
    """

    def __init__(
        self,
        database: Database,
        store: InstanceStore,
        *,
        limits: ReaderLimits = DEFAULT_LIMITS,
        check_room: Callable[[], None] = lambda: None,
        checkpoint: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._store = store
        self._limits = limits
        self._check_room = check_room
        self._checkpoint = checkpoint

    def accept(
        self,
        instance: EncodedInstance,
        *,
        source: str,
        calling_ae: str | None = None,
        study_uid: str | None = None,
        series_uid: str | None = None,
    ) -> ReceivedInstance:
        """Make an instance durably ours; on return file and row are there, whatever happens afterwards.

        May be called again after every failure, and whenever the same instance comes again.

        Parameters
        ----------
        instance : EncodedInstance
        source : str
            Name of what brought it, such as ``receiver`` or that of a store.
        calling_ae : str or None
            AE title of the sender of a C-STORE.
        study_uid, series_uid : str or None
            Where they are known otherwise than from the data set.

        Returns
        -------
        ReceivedInstance
            `InstanceOutcome.CONFLICT`: other bytes came under this UID before; these are kept too, and its case is held.

        Raises
        ------
        InstanceMismatch, InstanceRefused
            It is not what its sender says, or cut off; nothing was kept.
        StoreFull, StoreError, DatabaseError
            Nothing was accepted; the sender is to try again.
        """
        self._check_room()
        outline = check_instance(instance, self._limits)
        stored = self._store.keep(instance)
        self._checkpoint("filed")
        with self._database.transaction(ACTOR) as work:
            received = work.instances.receive(
                sop_instance_uid=instance.sop_instance_uid,
                sop_class_uid=instance.sop_class_uid,
                transfer_syntax_uid=instance.transfer_syntax_uid,
                sha256=stored.sha256,
                size_bytes=stored.size,
                stored_name=stored.stored_name,
                source=source,
                calling_ae=calling_ae,
                study_uid=study_uid or outline.study_uid,
                series_uid=series_uid or outline.series_uid,
            )
        self._checkpoint("recorded")
        if received.outcome is InstanceOutcome.CONFLICT:
            log.warning(
                "another instance came under a SOP instance UID that is taken; both are kept",
                extra={"instance": received.instance.instance_id, "source": source},
            )
        return received
