"""Other DICOM systems that we call: where they are, as whom we call them, and one association with them.

    with associate(entity, [build_context(VERIFICATION)]) as association:
        association.send_c_echo()

PS3.7 annex D (association), PS3.8 section 9.3.4 (why one is rejected), PS3.15 annex B (TLS).

pynetdicom and pydicom take two seconds to import: that is done where one is called, so that a site without DICOM does not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from integrations.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from integrations.errors import PeerRefused, PeerUnavailable
from integrations.tls import TlsFiles

if TYPE_CHECKING:
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

VERIFICATION = "1.2.840.10008.1.1"
MAX_PDU = 131_072
_USER, _USER_AND_PASSCODE = 1, 2  # PS3.7 table D.3-14

# PS3.8 table 9-21: (source, reason) of an A-ASSOCIATE-RJ.
_REJECTIONS = {
    (1, 3): "it does not know our AE title {own}: have it registered there, or see own_ae_title",
    (1, 7): "it is not called {called}: see ae_title",
    (1, 2): "it does not support the application context",
    (1, 1): "it rejects the association without a reason",
    (2, 1): "it rejects the association without a reason; is a user asked for?",
    (3, 1): "it is congested for now",
    (3, 2): "its limit of associations is reached",
}
_ACCEPTED = 0
_FOR_NOW = 3  # source: service provider, presentation related


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to sign in; never shown.

    Attributes
    ----------
    user, password : str
    token : str
        A bearer token, instead of both.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


NOBODY = Credentials()


@dataclass(frozen=True, slots=True)
class Entity:
    """An application entity that we call.

    Attributes
    ----------
    ae_title : str
        Its own.
    own_ae_title : str
        As which we call it.
    connect_seconds, timeout_seconds : float
        For the connection with its TLS handshake, and for each answer after that.
    tls : TlsFiles or None
    server_name : str
        In its certificate; the host by default.
    """

    host: str
    port: int
    ae_title: str
    own_ae_title: str
    connect_seconds: float = 10.0
    timeout_seconds: float = 60.0
    tls: TlsFiles | None = None
    server_name: str = ""
    credentials: Credentials = NOBODY

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


@contextmanager
def associate(
    entity: Entity, contexts: Sequence[Any], *, roles: Sequence[Any] = (), handlers: Sequence[Any] = ()
) -> Iterator[Any]:
    """One association; it is released at the end, and aborted where something went wrong within.

    Parameters
    ----------
    contexts : sequence of PresentationContext
        At most 128 (PS3.8 section 9.3.2.2).
    roles : sequence of SCP_SCU_RoleSelectionNegotiation
        For C-GET, where the other side sends.
    handlers : sequence of (event, callable)

    Raises
    ------
    PeerUnavailable, PeerRefused
        With what to look at.
    TlsError
        A certificate file of ours cannot be used.
    """
    from pynetdicom import AE

    ae = AE(ae_title=entity.own_ae_title)
    ae.implementation_class_uid, ae.implementation_version_name = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
    ae.connection_timeout = entity.connect_seconds
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = entity.timeout_seconds
    negotiation = [*roles, *_identity(entity.credentials)]
    secured = None if entity.tls is None else (entity.tls.client_context(), entity.server_name or entity.host)
    association = ae.associate(
        entity.host,
        entity.port,
        contexts=list(contexts),
        ae_title=entity.ae_title,
        max_pdu=MAX_PDU,
        ext_neg=negotiation,
        tls_args=secured,
        evt_handlers=list(handlers),
    )
    if not association.is_established:
        raise _why_not(entity, association)
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    if association.is_established:
        association.release()


def echo(entity: Entity) -> None:
    """Verify by C-ECHO that it is there and speaks with us (PS3.4 annex A).

    Raises
    ------
    PeerUnavailable, PeerRefused, TlsError
    """
    from pynetdicom import build_context

    with associate(entity, [build_context(VERIFICATION)]) as association:
        status = association.send_c_echo()
        if "Status" not in status:
            raise PeerUnavailable(f"{entity} did not answer C-ECHO within {entity.timeout_seconds:g} s")
        if status.Status != 0:
            raise PeerRefused(f"{entity} answered C-ECHO with status 0x{status.Status:04X}")


def _identity(credentials: Credentials) -> list[UserIdentityNegotiation]:
    if not credentials.user:
        return []
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

    identity = UserIdentityNegotiation()
    identity.user_identity_type = _USER_AND_PASSCODE if credentials.password else _USER
    identity.primary_field = credentials.user.encode()
    if credentials.password:
        identity.secondary_field = credentials.password.encode()
    return [identity]


def _why_not(entity: Entity, association: Any) -> PeerUnavailable:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        source = answer.result_source
        told = _REJECTIONS.get((source, answer.diagnostic), "it rejects the association")
        kind = PeerUnavailable if source == _FOR_NOW else PeerRefused
        return kind(f"{entity}: " + told.format(own=entity.own_ae_title, called=entity.ae_title))
    if answer is not None and answer.result == _ACCEPTED:  # and then ended by our side
        return PeerRefused(f"{entity} offers none of the services that were asked for")
    if association.is_aborted and answer is not None:
        return PeerUnavailable(f"{entity} ended the association while it was made")
    also = "; does it speak TLS there, and trust our certificate?" if entity.tls else "; does it want TLS?"
    return PeerUnavailable(f"{entity} cannot be reached, or ends the connection at once: see host and port{also}")
