"""Sending files by hand, to see whether another system takes them: C-STORE (PS3.4 annex B) or STOW-RS (PS3.18 10.5)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from pynetdicom import _config, build_context

from integrations.dicom.dicomweb import WebService
from integrations.dicom.part10 import EncodedInstance, split_file
from integrations.dicom.peer import Entity, associate
from integrations.errors import InstanceRefused, PeerUnavailable

HEAD_BYTES = 1 << 20  # holds every file meta group that is taken
MOST_CONTEXTS = 128  # PS3.8 section 9.3.2.2
_WARNINGS = (0xB000, 0xB006, 0xB007)  # PS3.4 table B.2-1: stored, with a remark
_REFUSALS = {
    0xA7: "it is out of resources",
    0xA9: "it says that class and data set do not fit",
    0xC0: "it cannot read it",
}
_STORED, _FAILED = "00081199", "00081198"


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one file.

    Attributes
    ----------
    problem : str or None
        Why it was not taken; None: it was.
    """

    path: Path
    problem: str | None


def send_files(entity: Entity, paths: Sequence[Path]) -> Iterator[Sent]:
    """Send files by C-STORE, as they are, over one association; gives what became of each as soon as it is known.

    Raises
    ------
    PeerUnavailable, PeerRefused, TlsError
    """
    _config.STORE_SEND_CHUNKED_DATASET = True  # as they are, instead of being read into a data set and written anew
    heads: dict[Path, EncodedInstance] = {}
    for path in paths:
        try:
            heads[path] = _head(path)
        except InstanceRefused as error:
            yield Sent(path, str(error))
    kinds = sorted({(head.sop_class_uid, head.transfer_syntax_uid) for head in heads.values()})[:MOST_CONTEXTS]
    if not kinds:
        return
    with associate(entity, [build_context(*kind) for kind in kinds]) as association:
        offered = {(each.abstract_syntax, each.transfer_syntax[0]) for each in association.accepted_contexts}
        for path, head in heads.items():
            if (head.sop_class_uid, head.transfer_syntax_uid) not in offered:
                yield Sent(path, f"it does not take class {head.sop_class_uid} in {head.transfer_syntax_uid}")
                continue
            status = association.send_c_store(path)
            if "Status" not in status:
                raise PeerUnavailable(f"{entity} did not answer C-STORE in time, or ended the association")
            code = int(status.Status)
            known = _REFUSALS.get(code >> 8, "it refused it")
            yield Sent(path, None if code == 0 or code in _WARNINGS else f"{known} (status 0x{code:04X})")


def post_files(service: WebService, paths: Sequence[Path]) -> Iterator[Sent]:
    """Send files by STOW-RS, one a request.

    Raises
    ------
    PeerUnavailable, TlsError
    """
    with service.client() as client:
        for path in paths:
            try:
                head = _head(path)
            except InstanceRefused as error:
                yield Sent(path, str(error))
                continue
            boundary = secrets.token_hex(16)
            body = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes()
            body += f"\r\n--{boundary}--\r\n".encode()
            kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
            headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
            try:
                answer = client.post(f"{service.url}/studies", content=body, headers=headers)
            except httpx.HTTPError:
                raise PeerUnavailable(f"{service} cannot be reached, or did not answer in time") from None
            yield Sent(path, _stow_problem(answer, head.sop_instance_uid))


def _stow_problem(answer: httpx.Response, uid: str) -> str | None:
    """PS3.18 annex I: the answer lists what was stored and what was not."""
    told = f"HTTP status {answer.status_code}"
    if answer.status_code in (401, 403):
        return f"it does not let us store ({told}): see user, or the token"
    try:
        listed = json.loads(answer.content or b"{}")
    except (ValueError, RecursionError):
        listed = {}
    if answer.is_success and isinstance(listed, dict) and uid in json.dumps(listed.get(_STORED, {})):
        return None
    failed = isinstance(listed, dict) and _FAILED in listed
    return f"it refused it ({told})" if failed or answer.is_error else f"it does not say that it stored it ({told})"


def _head(path: Path) -> EncodedInstance:
    try:
        with path.open("rb") as file:
            return split_file(file.read(HEAD_BYTES))
    except OSError as error:
        raise InstanceRefused(f"it cannot be read ({error.strerror or type(error).__name__})") from None
