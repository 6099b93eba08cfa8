"""TLS for every protocol, on both sides, with certificates that sites make themselves.

Contexts are made anew for each connection: a renewed certificate is taken up without a restart. At least TLS 1.2; the
other side's certificate is always checked by a client, and by a server that was given authorities.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from integrations.errors import TlsError
from integrations.wire import receive

# In TLS 1.3 the server judges our certificate after our own handshake is done; so long a refusal is waited for.
_SETTLE_SECONDS = 0.25
LONG_SETTLE_SECONDS = 5.0

_UNTRUSTED = (18, 19, 20, 21)  # X509_V_ERR_*: self-signed, no issuer found, first certificate not verifiable
_EXPIRED, _NOT_YET, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where certificates and keys lie, in PEM.

    Attributes
    ----------
    ca_file : Path or None
        The authorities the other side must be signed by. A client without it trusts those of the system; a server
        without it asks for no client certificate.
    cert_file, key_file : Path or None
        Our own certificate, with its chain, and its key; a server must have them.
    key_password_file : Path or None
        Holds the key's password in its first line.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None

    def client_context(self) -> ssl.SSLContext:
        """Context of a client.

        Raises
        ------
        TlsError
            Names the file.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=self._authorities())
        self._load_own(context)
        return context

    def server_context(self) -> ssl.SSLContext:
        """Context of a server.

        Raises
        ------
        TlsError
            Names the file.
        """
        if self.cert_file is None:
            raise TlsError("a TLS listener needs cert_file and key_file")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        authorities = self._authorities()
        if authorities is not None:
            context.load_verify_locations(cadata=authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        self._load_own(context)
        return context

    def _authorities(self) -> str | None:
        if self.ca_file is None:
            return None
        pem = _read("ca_file", self.ca_file)
        try:
            text = pem.decode("ascii")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (UnicodeDecodeError, ValueError, ssl.SSLError):
            raise TlsError(f"ca_file {self.ca_file} holds no certificates in PEM") from None
        return text

    def _load_own(self, context: ssl.SSLContext) -> None:
        if self.cert_file is None:
            return
        key_file = self.key_file or self.cert_file
        _read("cert_file", self.cert_file)
        _read("key_file", key_file)
        try:
            context.load_cert_chain(self.cert_file, key_file, password=self._password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise TlsError(f"key_file {key_file} is not the key of cert_file {self.cert_file}") from None
            raise TlsError(
                f"cert_file {self.cert_file} or key_file {key_file} is not PEM, or key_password_file has another password"
            ) from None

    def _password(self) -> str:
        # Without this, OpenSSL would ask on the terminal.
        if self.key_password_file is None:
            raise TlsError(f"key_file {self.key_file or self.cert_file} has a password; name its key_password_file")
        return _read("key_password_file", self.key_password_file).decode("utf-8", errors="replace").split("\n")[0]


class ClientTls:
    """Turns a client's connection into a TLS connection.

    Parameters
    ----------
    files : TlsFiles
    server_name : str
        Name or address that the server's certificate must be for.
    """

    def __init__(self, files: TlsFiles, server_name: str) -> None:
        self.files = files
        self._server_name = server_name
        self._settle = _SETTLE_SECONDS

    def secure(self, connection: socket.socket, seconds: float) -> tuple[ssl.SSLSocket, bytes]:
        """Shake hands, and wait a moment whether the server refuses our certificate.

        Parameters
        ----------
        connection : socket
            Connected; belongs to the result afterwards.
        seconds : float
            For the whole handshake.

        Returns
        -------
        tuple
            The secured connection, and what has arrived on it already; mostly nothing.

        Raises
        ------
        TlsError
            In words, with what to look at.
        OSError
            If the connection breaks, or as `TimeoutError` after `seconds`.
        """
        context = self.files.client_context()
        connection.settimeout(seconds)
        secured = context.wrap_socket(connection, server_hostname=self._server_name, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
            return secured, self._await_refusal(secured) if secured.version() == "TLSv1.3" else b""
        except TimeoutError:
            secured.close()
            raise TimeoutError(f"no TLS handshake within {seconds:g} s") from None
        except ssl.SSLError as error:
            secured.close()
            raise TlsError(tls_words(error)) from None
        except BaseException:
            secured.close()
            raise

    def _await_refusal(self, secured: ssl.SSLSocket) -> bytes:
        settle, self._settle = self._settle, _SETTLE_SECONDS
        try:
            early = receive(secured, settle)
        except TimeoutError:
            return b""
        except ssl.SSLError as error:
            self.is_refusal(error)
            raise
        if not early:
            raise ConnectionAbortedError("closed after the TLS handshake")
        return early

    def is_refusal(self, error: OSError) -> bool:
        """Whether a server says that it does not accept our certificate, so that it took nothing of what we sent.

        In TLS 1.3 it says so after our own handshake is done, when something may be under way already. Once it has
        done so, the next connection waits for it longer, before anything is sent.
        """
        turned_away = isinstance(error, ssl.SSLError) and _is_turned_away(error)
        if turned_away:
            self._settle = LONG_SETTLE_SECONDS
        return turned_away


def _is_turned_away(error: ssl.SSLError) -> bool:
    reason = error.reason or ""
    return "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))


def tls_words(error: ssl.SSLError) -> str:
    """Why a handshake failed, for a person; without anything the other side chose."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _UNTRUSTED:
            return "the server's certificate is not signed by an authority of ca_file"
        if code in (_OTHER_NAME, _OTHER_ADDRESS):
            return "the server's certificate is for another name; see host and server_name"
        known = {
            _EXPIRED: "the server's certificate, or its authority's, has expired",
            _NOT_YET: "the server's certificate is not valid yet",
        }
        return known.get(code, f"the server's certificate was refused (OpenSSL error {code})")
    reason = error.reason or ""
    if _is_turned_away(error):
        return f"the server does not accept our certificate ({reason.lower().replace('_', ' ')}); see cert_file"
    if "HANDSHAKE_FAILURE" in reason:
        return "the server ended the TLS handshake; it may ask for a certificate of ours, see cert_file"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"):
        return "the server speaks no TLS there, or closed while shaking hands"
    return f"the TLS handshake failed ({reason.lower().replace('_', ' ') or 'no reason given'})"


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate of ours, or of an authority, is valid.

    Attributes
    ----------
    key : str
        Under which setting it stands, such as ``cert_file``.
    begins, ends : datetime
        In UTC.
    """

    key: str
    begins: datetime
    ends: datetime


def validities(files: TlsFiles) -> Iterator[Validity]:
    """Every certificate in the files.

    Raises
    ------
    TlsError
        If a file cannot be read or holds no certificate.
    """
    from cryptography import x509

    for key, file in (("ca_file", files.ca_file), ("cert_file", files.cert_file)):
        if file is None:
            continue
        try:
            found = x509.load_pem_x509_certificates(_read(key, file))
        except ValueError:
            raise TlsError(f"{key} {file} holds no certificates in PEM") from None
        for certificate in found:
            yield Validity(key, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def peer_validity(connection: ssl.SSLSocket) -> Validity | None:
    """Of the other side's certificate; None when it was not checked."""
    told = connection.getpeercert() or {}
    begins, ends = told.get("notBefore"), told.get("notAfter")
    if not isinstance(begins, str) or not isinstance(ends, str):
        return None
    at = [datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC) for text in (begins, ends)]
    return Validity("the server's certificate", *at)


def _read(key: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TlsError(f"{key} {file} cannot be read ({error.strerror or type(error).__name__})") from None
