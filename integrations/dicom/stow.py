"""Objects to an archive by STOW-RS (PS3.18 section 10.5): one object a request, the frozen bytes."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from integrations.dicom.dicomweb import WebService
from integrations.dicom.storing import FrozenObject, StoreAnswer, StoreOutcome, longest_attempt, outcome_of
from integrations.errors import TlsError

JSON = "application/dicom+json"
MOST_ANSWER_BYTES = 1 << 20
_CHUNK = 1 << 18
_REFERENCED, _FAILED = "00081199", "00081198"
_SOP_UID, _FAILURE, _WARNING = "00081155", "00081197", "00081196"
_ASKS_TO_WAIT = frozenset({429, 503})
_NOT_FOR_US = frozenset({401, 403, 404, 405, 407, 410})
_OUTCOME_UNKNOWN = frozenset({408, 500, 502, 504})


class StowClient:
    """Sends objects to one DICOMweb service; for one thread at a time.

    Parameters
    ----------
    service : WebService
    clock : callable
        Monotonic seconds.

    Raises
    ------
    TlsError
        A certificate file of ours cannot be used.
    """

    def __init__(self, service: WebService, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.service = service
        self._clock = clock
        self._client: httpx.Client | None = None

    def probe(self) -> str | None:
        """Connect; gives in words why not. Nothing is asked: an archive need not answer queries."""
        parts = urlsplit(self.service.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            with socket.create_connection((parts.hostname or "", port), self.service.connect_seconds):
                return None
        except OSError:
            return f"{self.service} cannot be reached: see url, and whether it runs"

    def send(self, made: FrozenObject) -> StoreAnswer:
        """Send one object and read what the answer says about it."""
        began = self._clock()
        outcome, code, reason = self._send(made, began + longest_attempt(self.service.timeout_seconds, made.size_bytes))
        return StoreAnswer(outcome, code, reason, self._clock() - began)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # ---------------------------------------------------------------------------------------------------------- inside
    def _send(self, made: FrozenObject, until: float) -> tuple[StoreOutcome, str, str]:
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(head) + made.size_bytes + len(tail)),
            "Accept": JSON,
        }
        started = False

        def body() -> Iterator[bytes]:
            nonlocal started
            started = True
            yield head
            with made.path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    if self._clock() > until:
                        raise httpx.WriteTimeout("the archive takes the object too slowly")
                    yield chunk
            yield tail

        try:
            self._client = self._client or self.service.client()
            url = f"{self.service.url}/studies"
            with self._client.stream("POST", url, content=body(), headers=headers, extensions=self._named()) as answer:
                return _judged(made, answer.status_code, self._read(answer, until))
        except TlsError as error:
            return StoreOutcome.NOT_SENT, "", str(error)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol):
            return StoreOutcome.NOT_SENT, "", f"{self.service} cannot be reached: see url, tls, and whether it runs"
        except httpx.HTTPError as error:
            self.close()
            where = f"{self.service} broke off or did not answer in time ({type(error).__name__})"
            return (StoreOutcome.UNKNOWN if started else StoreOutcome.NOT_SENT), "", where

    def _named(self) -> dict[str, str]:
        return {"sni_hostname": self.service.server_name} if self.service.server_name else {}

    def _read(self, answer: httpx.Response, until: float) -> bytes:
        body = bytearray()
        for piece in answer.iter_bytes():
            body += piece
            if self._clock() > until:
                raise httpx.ReadTimeout("the answer does not end")
            if len(body) > MOST_ANSWER_BYTES:
                break
        return bytes(body[:MOST_ANSWER_BYTES])


def _judged(made: FrozenObject, status: int, body: bytes) -> tuple[StoreOutcome, str, str]:
    """PS3.18 table 10.5.3-1 for the status, annex I for what the answer says about the object."""
    code = f"HTTP {status}"
    if status in _ASKS_TO_WAIT:
        return StoreOutcome.BUSY, code, "the archive asks to wait"
    if status in _NOT_FOR_US or 300 <= status < 400:
        return StoreOutcome.NOT_SENT, code, f"the archive answered with {code}: see url and how we sign in"
    if status in _OUTCOME_UNKNOWN or status >= 500:
        return StoreOutcome.UNKNOWN, code, "the archive failed, and does not say what became of the object"
    told = _about(made, body)
    if told is not None:
        outcome, reason = outcome_of(told)
        return outcome, code if told == 0 else f"{code}, 0x{told:04X}", reason
    if status == 200:
        return StoreOutcome.ACCEPTED, code, "the archive stored it; its answer does not name it"
    if 200 <= status < 300:
        return StoreOutcome.UNKNOWN, code, "the archive's answer does not say what became of the object"
    return StoreOutcome.REFUSED, code, "the archive refused it and does not say why"


def _about(made: FrozenObject, body: bytes) -> int | None:
    """The status that the answer gives for our object; 0 where it is stored, None where nothing is said."""
    try:
        answer = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, dict):
        return None
    for item in _items(answer, _FAILED):
        if _first(item, _SOP_UID) in (made.sop_instance_uid, None):
            return _number(item, _FAILURE, 0x0110)
    for item in _items(answer, _REFERENCED):
        if _first(item, _SOP_UID) == made.sop_instance_uid:
            return _number(item, _WARNING, 0)
    return None


def _items(answer: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    found = answer.get(tag)
    values = found.get("Value") if isinstance(found, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _first(item: Mapping[str, Any], tag: str) -> Any:
    found = item.get(tag)
    values = found.get("Value") if isinstance(found, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _number(item: Mapping[str, Any], tag: str, otherwise: int) -> int:
    with suppress(TypeError, ValueError):
        return int(_first(item, tag)) & 0xFFFF
    return otherwise
