"""What is answered to a received message: in the original and in the enhanced acknowledgement mode (HL7 2.5.1, 2.9).

No sockets here. The handler keeps the message and says what it made of it; everything that must be known before
anybody looks at the content (header, character set, number of segments), and which acknowledgements the sender asked
for, is seen to here.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from integrations.errors import AckUnreadable, MessageNotTaken
from integrations.hl7.ack import AckCode, AckError, ErrorCode, Outcome, build_ack, read_ack
from integrations.hl7.escape import Charset
from integrations.hl7.header import MAX_HEADER_BYTES, Header, decode_message, read_header

log = logging.getLogger(__name__)

Handler = Callable[[bytes], bytes]
"""Keeps a message durably and gives the bytes of its application acknowledgement (`build_ack`: AA, AE or AR).

Called from several threads at once, once for each block that arrives, repeats included. Raises `MessageNotTaken` when
the message cannot be kept just now: the connection is closed without an answer, and the sender sends it again. Any
other exception is answered AE (CE in the enhanced mode). It must end by itself: nothing interrupts it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back to the sender.

    Attributes
    ----------
    messages : tuple of bytes
        In this order, each a block of its own; often one.
    keep : bool
        Whether the connection stays open after them.
    """

    messages: tuple[bytes, ...] = field(default=(), repr=False)
    keep: bool = True


def new_control_id() -> str:
    """A control id nobody else uses: 20 characters."""
    return secrets.token_hex(10).upper()


def _now() -> datetime:
    return datetime.now(UTC)


class Reception:
    """Answers messages, one call each; for any number of threads.

    Parameters
    ----------
    handler : Handler
    charset : Charset
        What an empty MSH-18 means at this site.
    max_segments : int
        A message of more is rejected before anything parses it.
    now, new_id : callable
        The time for MSH-7 and the control id for MSH-10 of acknowledgements made here.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        charset: Charset = Charset.UTF_8,
        max_segments: int = 1000,
        now: Callable[[], datetime] = _now,
        new_id: Callable[[], str] = new_control_id,
    ) -> None:
        self._handler = handler
        self._charset = charset
        self._max_segments = max_segments
        self._now = now
        self._new_id = new_id

    def answer(self, body: bytes) -> Reply:
        """Take one message, as the block brought it, and give what its sender is told."""
        try:
            header = read_header(body)
        except ValueError as error:
            wrong = AckError(ErrorCode.SEGMENT_SEQUENCE_ERROR, f"the message {error}", "MSH")
            return Reply((self._ack(body, AckCode.AR, wrong),), keep=False)
        if header.is_acknowledgement:
            return Reply()  # such as the commit of an application acknowledgement of ours
        problem = self._problem(header, body)
        if problem is not None:
            log.warning("a message was rejected: %s", problem.text)
            return self._refusal(header, body, AckCode.CR, AckCode.AR, problem)
        try:
            application = self._handler(body)
            accepted = not application or read_ack(application).outcome is Outcome.ACKNOWLEDGED
        except MessageNotTaken as error:
            log.warning("a message was not taken and will come again: %s", error)
            return Reply(keep=False)
        except Exception as error:  # noqa: BLE001  # the edge of a job: one message must not end the listener
            log.error("the handler failed on a message: %s", _place(error))  # noqa: TRY400  # its text may name a patient
            wrong = AckError(ErrorCode.APPLICATION_INTERNAL_ERROR, "the message could not be processed")
            return self._refusal(header, body, AckCode.CE, AckCode.AE, wrong)
        return self._acceptance(header, body, application, accepted=accepted)

    def too_large(self, begun: bytes, max_bytes: int) -> Reply:
        """Answer a message that is larger than is read, by its first bytes."""
        wrong = AckError(ErrorCode.VALUE_TOO_LONG, f"the message has more than {max_bytes} bytes")
        try:
            header = read_header(begun)
        except ValueError:
            return Reply(keep=False)
        refusal = self._refusal(header, begun, AckCode.CR, AckCode.AR, wrong)
        return Reply(refusal.messages, keep=False)

    # ---------------------------------------------------------------------------------------------------------- inside
    def _problem(self, header: Header, body: bytes) -> AckError | None:
        if not header.control_id.strip():
            return AckError(ErrorCode.REQUIRED_FIELD_MISSING, "the message has no control id", "MSH", 10)
        if body.count(b"\r") + body.count(b"\n") > self._max_segments:
            return AckError(
                ErrorCode.VALUE_TOO_LONG, f"the message has more than {self._max_segments} segments or lines"
            )
        try:
            decode_message(body, self._charset)
        except ValueError as error:
            return AckError(ErrorCode.DATA_TYPE_ERROR, str(error), "MSH", 18)
        return None

    def _refusal(self, header: Header, body: bytes, commit: AckCode, application: AckCode, wrong: AckError) -> Reply:
        if not header.is_enhanced or not header.commit_ack.asks(success=False):
            wanted = not header.is_enhanced or header.application_ack.asks(success=False)
            return Reply((self._ack(body, application, wrong),) if wanted else ())
        return Reply((self._ack(body, commit, wrong),))

    def _acceptance(self, header: Header, body: bytes, application: bytes, *, accepted: bool) -> Reply:
        """Say that the message is kept, and what the handler made of it, as far as either is asked for."""
        if not header.is_enhanced:
            return Reply((application,) if application else ())
        answers = [self._ack(body, AckCode.CA)] if header.commit_ack.asks(success=True) else []
        if application and header.application_ack.asks(success=accepted):
            answers.append(application)
        return Reply(tuple(answers))

    def _ack(self, body: bytes, code: AckCode, *errors: AckError) -> bytes:
        return build_ack(body[:MAX_HEADER_BYTES], code, control_id=self._new_id(), now=self._now(), errors=errors)


def _place(error: Exception) -> str:
    if isinstance(error, AckUnreadable):
        return f"what it returned is no acknowledgement ({error})"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}"
