"""What can be set about DICOM: our receiver, the stores that are asked for images, the archives that take results.

No key holds a secret: passwords and tokens stand in a file or in an environment variable that a key names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from flows.setting_types import Host, Name, Network, Port, Seconds, Section, TlsListenerSection, TlsSection

SECURE = "https://"


def _ae_title(title: str) -> str:
    # PS3.5 section 6.2, value representation AE: 16 characters at most, no backslash, no control character.
    if not title or title != title.strip() or len(title) > 16 or not title.isprintable() or "\\" in title:
        raise ValueError('must be an AE title: 1 to 16 characters without a backslash, such as "PACS01"')
    if not title.isascii():
        raise ValueError("must be an AE title: ASCII characters only")
    return title


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('must be the root of a DICOMweb service, such as "https://pacs.example.org/dicom-web"')
    if parts.username or parts.password:
        raise ValueError("must not hold a user or a password: give user, and password_file or password_variable")
    if parts.query or parts.fragment:
        raise ValueError("must be the root of a DICOMweb service, without ? and #")
    return url.rstrip("/")


def _uid(uid: str) -> str:
    # PS3.5 section 9.1.
    parts = uid.split(".")
    if len(uid) > 64 or any(not part.isdigit() or (part[0] == "0" and part != "0") for part in parts):
        raise ValueError('must be a UID, such as "1.2.840.10008.5.1.4.1.1.77.1.2"')
    return uid


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Uid = Annotated[str, AfterValidator(_uid)]
Modality = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,16}$")]
Variable = Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]


class RequesterSettings(Section):
    """Where a system listens that asks us for storage commitment and does not wait for the answer.

    Attributes
    ----------
    tls : bool
        With the files of our receiver.
    """

    ae_title: AeTitle
    host: Host
    port: Port
    tls: bool = False


class ReceiverSettings(TlsListenerSection):
    """Where images come in by C-STORE.

    Attributes
    ----------
    allowed_ae_titles : tuple of str
        Calling AE titles; empty for all.
    allowed_addresses : tuple of str
        Addresses and networks; empty for all.
    max_associations : int
        At the same time.
    max_object_mib : int
        The largest object that is taken, in MiB.
    idle_seconds : float
        An association on which nothing came for so long is ended.
    handshake_seconds : float
        For the TLS handshake and the association request.
    requester : tuple of RequesterSettings
        Systems that take the answer to a request for storage commitment on an association of ours.
    """

    enabled: bool = False
    host: Host = "127.0.0.1"
    port: Port = 11112
    ae_title: AeTitle = "SPHERO"
    allowed_ae_titles: tuple[AeTitle, ...] = ()
    allowed_addresses: tuple[Network, ...] = ()
    max_associations: Annotated[int, Field(ge=1, le=200)] = 16
    max_object_mib: Annotated[int, Field(ge=1, le=4095)] = 512
    idle_seconds: Seconds = 60.0
    handshake_seconds: Seconds = 15.0
    requester: tuple[RequesterSettings, ...] = ()


class PeerSettings(TlsSection):
    """Another DICOM system that we call: a DICOMweb service, or an application entity.

    Attributes
    ----------
    url : str
        Root of the DICOMweb service; of kind ``dicomweb`` only. https means TLS.
    host, port, ae_title
        Of the application entity; of kind ``dimse`` only.
    own_ae_title : str
        As which we call it.
    server_name : str
        Name in its certificate, where that is not the host.
    user, password_file, password_variable
        HTTP Basic, or user identity of an association (PS3.7 section D.3.3.7).
    token_file, token_variable
        HTTP Bearer.
    connect_seconds, timeout_seconds : float
        For the connection, and for each answer after that.
    """

    name: Name
    kind: Literal["dicomweb", "dimse"]
    url: Annotated[str, Field(validate_default=True)] = ""
    host: Annotated[str, Field(max_length=253, pattern=r"^\S*$", validate_default=True)] = ""
    port: Annotated[int, Field(ge=0, le=65535, validate_default=True)] = 0
    ae_title: Annotated[str, Field(validate_default=True)] = ""
    own_ae_title: AeTitle = "SPHERO"
    server_name: str = ""
    user: str = ""
    password_file: Path | None = None
    password_variable: Variable = ""
    token_file: Path | None = None
    token_variable: Variable = ""
    connect_seconds: Seconds = 10.0
    timeout_seconds: Seconds = 60.0

    @model_validator(mode="before")
    @classmethod
    def _https_is_tls(cls, values: Any) -> Any:
        if isinstance(values, dict) and "tls" not in values and str(values.get("url", "")).startswith(SECURE):
            return {**values, "tls": True}
        return values

    @field_validator("url", "host", "port", "ae_title")
    @classmethod
    def _by_kind(cls, value: str | int, info: ValidationInfo) -> str | int:
        kind = info.data.get("kind")
        needed = (info.field_name == "url") == (kind == "dicomweb")
        if kind is not None and needed and not value:
            raise ValueError(f'must be given where kind is "{kind}"')
        if kind is not None and not needed and value:
            raise ValueError(f'is not for kind = "{kind}"')
        if not value:
            return value
        if info.field_name == "ae_title":
            return _ae_title(str(value))
        if info.field_name == "url":
            return cls._checked_url(str(value), tls=info.data.get("tls"))
        return value

    @staticmethod
    def _checked_url(url: str, *, tls: bool | None) -> str:
        if tls and not url.startswith(SECURE):
            raise ValueError(f"must begin with {SECURE} where tls = true")
        if tls is False and url.startswith(SECURE):
            raise ValueError("begins with https, but tls = false: remove that key")
        return _url(url)

    @field_validator("password_file", "password_variable")
    @classmethod
    def _one_password(cls, value: Path | str | None, info: ValidationInfo) -> Path | str | None:
        if value and not info.data.get("user"):
            raise ValueError("is given without user")
        if value and info.field_name == "password_variable" and info.data.get("password_file"):
            raise ValueError("is given beside password_file: give one of them")
        return value

    @field_validator("token_file", "token_variable")
    @classmethod
    def _one_token(cls, value: Path | str | None, info: ValidationInfo) -> Path | str | None:
        if value and info.data.get("kind") == "dimse":
            raise ValueError('is not for kind = "dimse"')
        if value and info.data.get("user"):
            raise ValueError("is given beside user: give one way to sign in")
        if value and info.field_name == "token_variable" and info.data.get("token_file"):
            raise ValueError("is given beside token_file: give one of them")
        return value

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.url or f"{self.ae_title} at {self.host}:{self.port}"


class StoreSettings(PeerSettings):
    """A store that is asked for new images.

    Attributes
    ----------
    retrieve : str
        How images are fetched; ``wado`` is of kind ``dicomweb``, the others of kind ``dimse`` (``c-get`` by default).
    poll_seconds : float
        Between two questions for new studies.
    modalities : tuple of str
        Of the series that are wanted (0008,0060): GM, SM: microscopy.
    sop_classes : tuple of str
        UIDs; empty for every one that we read.
    days_back : int
        A study may have this date, in days before the last complete question, and is still looked at each time.
    sweep_days : int
        Once in `sweep_hours` studies so much older are looked at too; 0 looks at everything the store has.
    sweep_hours : float
    page_size : int
        Answers asked for at a time.
    max_object_mib : int
        The largest object that is taken, in MiB.
    """

    retrieve: Annotated[Literal["wado", "c-get", "c-move"] | None, Field(validate_default=True)] = None
    poll_seconds: Seconds = 30.0
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("GM", "SM")
    sop_classes: tuple[Uid, ...] = ()
    days_back: Annotated[int, Field(ge=0, le=3650)] = 3
    sweep_days: Annotated[int, Field(ge=0, le=36500)] = 60
    sweep_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    max_object_mib: Annotated[int, Field(ge=1, le=4095)] = 512

    @field_validator("retrieve")
    @classmethod
    def _of_its_kind(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if kind is None:
            return value
        if value is None:
            return "wado" if kind == "dicomweb" else "c-get"
        if (value == "wado") != (kind == "dicomweb"):
            allowed = "'wado'" if kind == "dicomweb" else "'c-get', 'c-move'"
            raise ValueError(f'must be one of {allowed} where kind is "{kind}"')
        return value


class ArchiveSettings(PeerSettings):
    """An archive that takes our results.

    Attributes
    ----------
    objects : tuple of str
        Which: ``ann`` (annotations of each field), ``sr`` (measurement report of each case), ``seg`` (label maps).
    commitment : bool
        Whether it is asked to confirm that it keeps them (Storage Commitment Push Model); of kind ``dimse`` only.
    """

    objects: Annotated[tuple[Literal["ann", "sr", "seg"], ...], Field(min_length=1)] = ("ann", "sr")
    commitment: bool = False

    @field_validator("commitment")
    @classmethod
    def _dimse_only(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("kind") == "dicomweb":
            raise ValueError('is not for kind = "dicomweb"')
        return value


class CommitmentSettings(TlsListenerSection):
    """Where archives with ``commitment = true`` report that they keep what they took.

    Attributes
    ----------
    ae_title : str
        Ours, as which the archive reports to us.
    patience_seconds : float
        After so long without an answer an archive is asked again.
    """

    host: Host = "127.0.0.1"
    port: Port = 11113
    ae_title: AeTitle = "SPHERO"
    patience_seconds: Seconds = 600.0


class DicomSettings(Section):
    """Images in, results out.

    Attributes
    ----------
    codes : mapping of str to tuple of str
        Codes of the site in place of ours in objects: value, scheme and meaning.
    """

    receiver: ReceiverSettings = ReceiverSettings()
    store: tuple[StoreSettings, ...] = ()
    archive: tuple[ArchiveSettings, ...] = ()
    commitment: Annotated[CommitmentSettings, Field(validate_default=True)] = CommitmentSettings()
    codes: dict[str, tuple[str, str, str]] = {}

    @field_validator("commitment")
    @classmethod
    def _answers_are_heard(cls, commitment: CommitmentSettings, info: ValidationInfo) -> CommitmentSettings:
        for archive in info.data.get("archive", ()):
            if archive.commitment and archive.own_ae_title != commitment.ae_title:
                raise ValueError(
                    f"archive {archive.name} is asked as {archive.own_ae_title} and answers to that title, "
                    f"but [dicom.commitment] ae_title is {commitment.ae_title}: make them the same"
                )
        return commitment

    @field_validator("store")
    @classmethod
    def _moves_need_a_receiver(cls, stores: tuple[StoreSettings, ...], info: ValidationInfo) -> Any:
        receiver: ReceiverSettings | None = info.data.get("receiver")
        if receiver is not None and not receiver.enabled and any(each.retrieve == "c-move" for each in stores):
            raise ValueError('retrieve = "c-move" sends to our receiver: set [dicom.receiver] enabled = true')
        return stores
