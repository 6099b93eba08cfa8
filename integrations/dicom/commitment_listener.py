"""Where archives report that they keep what they took, on associations of their own (PS3.4 section J.3.3)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, evt

from integrations.dicom.association_server import AssociationServer, Gate
from integrations.dicom.commitment import PUSH_MODEL, OnReport, handle_report
from integrations.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from integrations.dicom.peer import VERIFICATION
from integrations.tls import TlsFiles

log = logging.getLogger(__name__)

MOST_ASSOCIATIONS = 10
REPORT_BYTES = 1024 * 1024  # a report on `MOST_AT_ONCE` objects has some 30 KiB
_POLL_SECONDS = 0.25


class CommitmentListener:
    """Takes reports in threads of this process; a peer that is silent or floods holds up nobody else.

    Parameters
    ----------
    on_report : callable
        Called by several threads.
    ae_title : str
        Ours; associations for another are rejected.
    host, port
        Where it listens.
    allowed_ae_titles : sequence of str
        Of archives; others are rejected. Empty for all.
    tls : TlsFiles or None
        Read for each connection, so that a renewed certificate is taken up.
    timeout_seconds : float
        For the TLS handshake, for the association request, for each PDU, and for an association on which nothing comes.
    """

    def __init__(
        self,
        on_report: OnReport,
        *,
        ae_title: str,
        host: str,
        port: int,
        allowed_ae_titles: Sequence[str] = (),
        tls: TlsFiles | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._on_report = on_report
        self._address = host, port
        self._tls = tls
        self._gate = Gate(tls=None if tls is None else tls.server_context)
        self._gate.limits = limits = replace(
            self._gate.limits,
            max_associations=MOST_ASSOCIATIONS,
            max_data_set_bytes=REPORT_BYTES,
            handshake_seconds=timeout_seconds,
            pdu_seconds=timeout_seconds,
            idle_seconds=timeout_seconds,
        )
        self._listening = False
        self._ae = ae = AE(ae_title=ae_title)
        ae.implementation_class_uid, ae.implementation_version_name = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
        ae.maximum_pdu_size = limits.pdu_bytes
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_seconds
        ae.maximum_associations = limits.max_associations
        ae.require_called_aet = True
        ae.require_calling_aet = list(allowed_ae_titles)
        ae.add_supported_context(VERIFICATION)
        # The archive is the provider of the service although it makes the association (PS3.4 section J.3.3).
        ae.add_supported_context(PUSH_MODEL, ALL_TRANSFER_SYNTAXES[:4], scu_role=False, scp_role=True)

    def start(self) -> None:
        """Begin to listen.

        Raises
        ------
        OSError
            The port is taken.
        TlsError
            A certificate file cannot be used.
        """
        if self._tls is not None:
            self._tls.server_context()  # here already: a wrong file is to stop the start, not each connection
        _config.LOG_HANDLER_LEVEL = "none"  # else each message would be written out for the log
        server = self._ae.make_server(
            self._address,
            evt_handlers=[
                (evt.EVT_N_EVENT_REPORT, handle_report, [self._on_report]),
                (evt.EVT_REJECTED, self._rejected),
            ],
            server_class=AssociationServer,
            gate=self._gate,
        )
        self._ae._servers.append(server)  # noqa: SLF001  # `shutdown` takes it off again
        threading.Thread(
            target=server.serve_forever, args=(_POLL_SECONDS,), name="commitment listener", daemon=True
        ).start()
        self._listening = True

    def stop(self) -> None:
        """Stop listening; associations under way are ended."""
        if self._listening:
            self._ae.shutdown()
            self._listening = False

    def _rejected(self, event: Any) -> None:
        requestor = event.assoc.requestor
        self._gate.tell_once(
            f"an association of {requestor.ae_title!r} at {requestor.address_info.address} to report a commitment is rejected: "
            "see [dicom.commitment] ae_title, and ae_title of [[dicom.archive]]"
        )
