"""A store that speaks DICOMweb: QIDO-RS for what it has, WADO-RS for the instances (PS3.18 sections 10.4 and 10.6)."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from typing import Any, Self

import httpx

from integrations.dicom.fetching import Deliver, InstanceAnswer, StudyAnswer
from integrations.dicom.multipart import only_part
from integrations.dicom.part10 import EncodedInstance, is_uid, split_file
from integrations.dicom.peer import NOBODY, Credentials
from integrations.errors import DicomError, InstanceNotFetched, PeerRefused, PeerUnavailable
from integrations.tls import TlsFiles, tls_words

JSON = "application/dicom+json"
# "*": as it is stored, whatever the encoding (PS3.18 section 8.7.3.5.2).
INSTANCE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
MOST_ANSWER_BYTES = 64 * 2**20
ENVELOPE_BYTES = 64 * 1024  # of a part's headers and boundaries
NOT_FOUND = (404, 410)
_OF_THE_INSTANCE = (*NOT_FOUND, 406, 500)  # such an answer says nothing about the others
_ASKS_TO_WAIT = (429, 503)

STUDY_UID, SERIES_UID, SOP_UID, SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
MODALITY, MODALITIES_OF_STUDY, INSTANCES_OF_STUDY = "00080060", "00080061", "00201208"


@dataclass(frozen=True, slots=True)
class WebService:
    """A DICOMweb service that we call.

    Attributes
    ----------
    url : str
        Its root, without a slash at the end.
    connect_seconds, timeout_seconds : float
        For the connection, and for each piece of an answer after that.
    tls : TlsFiles or None
        For https.
    """

    url: str
    connect_seconds: float = 10.0
    timeout_seconds: float = 60.0
    tls: TlsFiles | None = None
    server_name: str = ""
    credentials: Credentials = NOBODY

    def __str__(self) -> str:
        return self.url

    def client(self) -> httpx.Client:
        """A client of it: every timeout set, no redirects, nothing taken from the environment.

        Raises
        ------
        TlsError
            A certificate file of ours cannot be used.
        """
        # In the clear none is used; the default one would read every authority of the system for it.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.tls is None else self.tls.client_context()
        timeout = httpx.Timeout(self.timeout_seconds, connect=self.connect_seconds)
        sign, headers = self.credentials, {}
        if sign.token:
            headers["Authorization"] = f"Bearer {sign.token}"
        auth = (sign.user, sign.password) if sign.user else None
        return httpx.Client(verify=context, timeout=timeout, auth=auth, headers=headers, trust_env=False)


class WebStore:
    """A store that speaks DICOMweb; one thread uses it at a time.

    Parameters
    ----------
    service : WebService
    page_size : int
        Answers asked for at a time.
    max_bytes : int
        Of one instance; larger ones are not taken.
    """

    def __init__(self, service: WebService, *, page_size: int, max_bytes: int) -> None:
        self._service = service
        self._page_size = page_size
        self._max_bytes = max_bytes
        self._client = service.client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def check(self) -> None:
        """Ask for one study."""
        self._page("/studies", {"limit": "1", "offset": "0"})

    # ------------------------------------------------------------------------------------------------------------- QIDO
    def studies(self, modalities: Sequence[str], since: date | None) -> Iterator[StudyAnswer]:
        """Studies with a series of one of these modalities, of this date or later; with None, of any date or none."""
        wanted = {"includefield": INSTANCES_OF_STUDY} | ({} if since is None else {"StudyDate": f"{since:%Y%m%d}-"})
        seen: set[str] = set()
        for modality in modalities:
            pages = self._pages("/studies", {**wanted, "ModalitiesInStudy": modality}, STUDY_UID)
            full = False
            for page in pages:
                full = len(page) == self._page_size
                yield from _studies(page, seen)
            if full:
                # Orthanc's plugin (seen with 1.7) counts wrongly where it filters by modality: nothing follows a full
                # page. Its other pages are right, so everything is asked for, and filtered here.
                for page in self._pages("/studies", wanted, STUDY_UID):
                    yield from _studies([each for each in page if _has_modality(each, modalities)], seen)
                return

    def instances(self, study_uid: str) -> Iterator[InstanceAnswer]:
        """Everything in one study, series by series."""
        path = f"/studies/{study_uid}/series"
        for series in [each for page in self._pages(path, {}, SERIES_UID) for each in page]:
            series_uid, modality = _value(series, SERIES_UID), _value(series, MODALITY)
            pages = self._pages(f"{path}/{series_uid}/instances", {}, SOP_UID)
            for found in (each for page in pages for each in page):
                uid, sop_class = _value(found, SOP_UID), _value(found, SOP_CLASS)
                yield InstanceAnswer(study_uid, series_uid, uid, sop_class, modality)

    def _pages(self, path: str, query: Mapping[str, str], key: str) -> Iterator[list[Mapping[str, Any]]]:
        """Every answer once, page by page.

        A page may be shorter than asked for although more follows (PS3.18 section 8.3.4.4 lets a server limit it), so
        the last page is the empty one; and one that brings nothing new, from a server that knows no offset.
        """
        seen: set[str] = set()
        offset = 0
        while True:
            page = self._page(path, {**query, "limit": str(self._page_size), "offset": str(offset)})
            fresh = {uid: answer for answer in page if is_uid(uid := _value(answer, key)) and uid not in seen}
            if not fresh:
                return
            seen.update(fresh)
            yield list(fresh.values())
            offset += len(page)

    def _page(self, path: str, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        with self._asked(path, JSON, query) as answer:
            if answer.status_code == httpx.codes.NO_CONTENT:
                return []
            self._judge(answer)
            body = _limited(answer, MOST_ANSWER_BYTES)
        if body is None:
            raise PeerRefused(f"{self._service} answers a query with too much; see page_size")
        return _answers(self._service, body)

    # ------------------------------------------------------------------------------------------------------------- WADO
    def fetch(self, wanted: Sequence[InstanceAnswer], deliver: Deliver) -> dict[str, str]:
        """Fetch instances one after the other; gives why not for those that did not come."""
        failed = {}
        for each in wanted:
            try:
                deliver(each, self.retrieve(each))
            except PeerUnavailable:
                raise
            except DicomError as error:  # of this instance
                failed[each.sop_instance_uid] = str(error)
        return failed

    def retrieve(self, wanted: InstanceAnswer) -> EncodedInstance:
        """Fetch one instance as it is stored.

        Raises
        ------
        InstanceNotFetched, InstanceRefused
            It is not there, too large, or not what was asked for.
        PeerUnavailable, PeerRefused
        """
        path = f"/studies/{wanted.study_uid}/series/{wanted.series_uid}/instances/{wanted.sop_instance_uid}"
        with self._asked(path, INSTANCE) as answer:
            status = answer.status_code
            if status in _OF_THE_INSTANCE:
                raise InstanceNotFetched(f"the store answered with HTTP status {status}")
            self._judge(answer)
            body = _limited(answer, self._max_bytes + ENVELOPE_BYTES)
        if body is None:
            raise InstanceNotFetched(f"it has more than {self._max_bytes // 2**20} MiB; see max_object_mib")
        instance = split_file(only_part(answer.headers.get("content-type", ""), body))
        if instance.sop_instance_uid != wanted.sop_instance_uid:
            raise InstanceNotFetched("the store sent another instance than was asked for")
        return instance

    @contextmanager
    def _asked(self, path: str, accept: str, query: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        named = {"sni_hostname": self._service.server_name} if self._service.server_name else {}
        url, headers = self._service.url + path, {"Accept": accept}
        try:
            with self._client.stream("GET", url, params=query, headers=headers, extensions=named) as answer:
                yield answer
        except httpx.HTTPError as error:
            raise _broken(self._service, error) from None

    def _judge(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if answer.is_success:
            return
        where = f"{self._service} answered with HTTP status {status}"
        if status == httpx.codes.UNAUTHORIZED:
            raise PeerRefused(f"{where}: it does not accept who we are; see user with its password, or the token")
        if status == httpx.codes.FORBIDDEN:
            raise PeerRefused(f"{where}: our account may not do this; have it allowed there")
        if status in NOT_FOUND:
            raise PeerRefused(f"{where}: there is no DICOMweb service under this url")
        if answer.is_redirect:
            raise PeerRefused(f"{where}: it points elsewhere; give the final url")
        if status in _ASKS_TO_WAIT:
            seconds = answer.headers.get("retry-after", "")
            raise PeerUnavailable(
                f"{where}: it asks to wait", retry_seconds=float(seconds) if seconds.isdigit() else None
            )
        kind = PeerRefused if answer.is_client_error else PeerUnavailable
        raise kind(where)


def _broken(service: WebService, error: httpx.HTTPError) -> PeerUnavailable:
    """What httpx raised, in our words; without what the other side sent."""
    if isinstance(error, httpx.TimeoutException):
        return PeerUnavailable(f"{service} did not answer in time")
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    reason = tls_words(cause) if isinstance(cause, ssl.SSLError) else "see url, and whether it runs"
    return PeerUnavailable(f"{service} cannot be reached, or broke off: {reason}")


def _limited(answer: httpx.Response, limit: int) -> bytes | None:
    """The body, read piece by piece, so that no answer fills the memory; None where it is larger than `limit`."""
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > limit:
            return None
    return bytes(body)


def _answers(service: WebService, body: bytes) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(body or b"[]")
    except (ValueError, RecursionError):
        raise PeerRefused(
            f"{service} answered a query with something that is no JSON; is this its DICOMweb root?"
        ) from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise PeerRefused(f"{service} answered a query with something that is no DICOM JSON")
    return found


def _studies(answers: Sequence[Mapping[str, Any]], seen: set[str]) -> Iterator[StudyAnswer]:
    """Those that were not seen yet."""
    for answer in answers:
        uid, number = _value(answer, STUDY_UID), _value(answer, INSTANCES_OF_STUDY)
        if uid not in seen:
            seen.add(uid)
            yield StudyAnswer(uid, int(number) if number.isdigit() else None)


def _has_modality(answer: Mapping[str, Any], modalities: Sequence[str]) -> bool:
    """Whether a study has a series of one of these; where it is not said, it may have."""
    told = answer.get(MODALITIES_OF_STUDY)
    values = told.get("Value") if isinstance(told, dict) else None
    return not values or not set(modalities).isdisjoint(values)


def _value(answer: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute (PS3.18 annex F), or an empty text."""
    attribute = answer.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return str(values[0]).strip() if isinstance(values, list) and values and values[0] is not None else ""
