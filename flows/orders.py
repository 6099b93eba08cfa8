"""From received messages to orders: kept, read, recorded, answered.

    keep the bytes (a commit) -> read them -> record what they tell, with the answer (a commit) -> answer

What was answered AA is recorded, whatever happens afterwards: a sender whose answer was lost sends the same bytes again and
is given the same answer. A process killed between the commits leaves a message that nobody was answered; it is taken up at
the next start, or when it comes again.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from db.context import Clock
from db.errors import DatabaseBusy, DatabaseError, DatabaseUnavailable
from db.order_views import InboundView, OrderAction, OrderData, PatientData, PatientIdentifier
from db.session import Database, UnitOfWork
from db.states import InboundState
from flows.log import tell
from integrations.errors import MessageNotTaken, MessageRefused
from integrations.hl7.ack import AckCode, AckError, ErrorCode, build_ack
from integrations.hl7.escape import Charset
from integrations.hl7.header import read_header
from integrations.hl7.order import (
    Content,
    Identifier,
    OrderLine,
    OrderMessage,
    OrderRules,
    PatientRecord,
    PatientUpdate,
    read_content,
)
from integrations.hl7.received import read_message

log = logging.getLogger(__name__)

ACTOR = "orders"
CLASH = AckError(
    ErrorCode.DUPLICATE_KEY_IDENTIFIER,
    "MSH-10: another message of this sender had this control id and was taken; give each message its own",
    "MSH",
    10,
)
INTERNAL = AckError(ErrorCode.APPLICATION_INTERNAL_ERROR, "the message is kept, but could not be recorded; see our log")
OVERTAKEN = "was never answered, and a later message of its sender was recorded; it is recorded when it comes again"
STEPS = ("stored", "applied")


def _no_checkpoint(_step: str) -> None:
    pass


class OrderDesk:
    """Takes messages, one at a time and in the order they come; `handle` may be called from any thread.

    Parameters
    ----------
    database : Database
    rules : OrderRules
    require_order : bool
        Whether a case without an order is held.
    time_zone : ZoneInfo
        Of times that name none.
    charset : Charset
        Of messages whose MSH-18 is empty.
    clock : callable
        The time, aware, in the site's time zone.
    released : callable
        Called when cases may go on.
    checkpoint : callable
        Called with each of `STEPS`, so that tests can stop a process there.
    """

    def __init__(
        self,
        *,
        database: Database,
        rules: OrderRules,
        require_order: bool,
        time_zone: ZoneInfo,
        charset: Charset,
        clock: Clock,
        released: Callable[[], None] = lambda: None,
        checkpoint: Callable[[str], None] = _no_checkpoint,
    ) -> None:
        self._database = database
        self._rules = rules
        self._require_order = require_order
        self._time_zone = time_zone
        self._charset = charset
        self._clock = clock
        self._released = released
        self._checkpoint = checkpoint
        self._one_at_a_time = threading.Lock()

    def handle(self, body: bytes) -> bytes:
        """Take a message and return its acknowledgement: AA, AE or AR.

        Raises
        ------
        MessageNotTaken
            The database cannot be used now: nothing is answered, and the message is to come again.
        """
        with self._one_at_a_time:
            try:
                with self._database.transaction(ACTOR) as work:
                    received = work.inbound.receive(*_names(body), body)
            except DatabaseError as error:
                raise MessageNotTaken(tell(error)) from None
            self._checkpoint("stored")
            message = received.message
            if received.known and message.state in (InboundState.APPLIED, InboundState.REFUSED) and message.answer:
                return message.answer
            if received.clash:
                return self._refuse(message, AckCode.AE, [CLASH])
            return self._apply(message)

    def recover(self) -> int:
        """Record messages that were kept when the process ended, unless their sender has got further since.

        Returns
        -------
        int
            How many there were.

        Raises
        ------
        DatabaseError
        """
        with self._one_at_a_time:
            with self._database.reading() as work:
                left = work.inbound.unsettled()
                overtaken = {message.message_id for message in left if work.inbound.is_overtaken(message)}
            for message in left:
                if message.message_id in overtaken:
                    self._fail(message, OVERTAKEN)
                else:
                    self._apply(message)
        return len(left)

    def _apply(self, message: InboundView) -> bytes:
        try:
            reader = read_message(message.body, zone=self._time_zone, charset=self._charset)
            content = read_content(reader, self._rules)
        except MessageRefused as error:
            return self._refuse(message, AckCode.AR if error.rejected else AckCode.AE, error.problems)
        answer = self._answer(message, AckCode.AA)
        try:
            with self._database.transaction(ACTOR) as work:
                moved = self._record(work, content, message.message_id)
                work.inbound.settle(
                    message.message_id, InboundState.APPLIED, answer_code=AckCode.AA.value, answer=answer
                )
        except (DatabaseBusy, DatabaseUnavailable) as error:
            raise MessageNotTaken(tell(error)) from None
        except Exception as error:  # noqa: BLE001  # the edge of the job: the message is kept, its sender is told
            return self._fail(message, tell(error))
        self._checkpoint("applied")
        log.info("message recorded", extra={"inbound": message.message_id, "cases": len(moved)})
        if moved:
            self._released()
        return answer

    def _refuse(self, message: InboundView, code: AckCode, problems: Sequence[AckError]) -> bytes:
        reason = "; ".join(problem.text for problem in problems)
        log.warning("message refused: %s", reason, extra={"inbound": message.message_id})
        return self._settle(message, InboundState.REFUSED, code, problems, reason)

    def _fail(self, message: InboundView, reason: str) -> bytes:
        log.error("message not recorded: %s", reason, extra={"inbound": message.message_id})
        return self._settle(message, InboundState.FAILED, AckCode.AE, [INTERNAL], reason)

    def _settle(
        self, message: InboundView, state: InboundState, code: AckCode, problems: Sequence[AckError], reason: str
    ) -> bytes:
        answer = self._answer(message, code, problems)
        try:
            with self._database.transaction(ACTOR) as work:
                work.inbound.settle(message.message_id, state, answer_code=code.value, answer=answer, reason=reason)
        except DatabaseError as error:
            raise MessageNotTaken(tell(error)) from None
        return answer

    def _answer(self, message: InboundView, code: AckCode, problems: Sequence[AckError] = ()) -> bytes:
        now = self._clock()
        control_id = hashlib.sha256(f"{message.message_id}{now.isoformat()}".encode()).hexdigest()[:20].upper()
        return build_ack(message.body, code, control_id=control_id, now=now, errors=problems)

    # ---------------------------------------------------------------------------------------------------------- record
    def _record(self, work: UnitOfWork, content: Content, message_id: str) -> tuple[str, ...]:
        """Write what a message tells; returns the cases that may go on."""
        if isinstance(content, OrderMessage):
            return self._record_orders(work, content, message_id)
        if isinstance(content, PatientUpdate):
            return work.patients.update(_patient(content.patient))
        moved: list[str] = []
        for merge in content:
            moved += work.patients.merge(_patient(merge.patient), _identifiers(merge.prior), message_id)
        return tuple(moved)

    def _record_orders(self, work: UnitOfWork, content: OrderMessage, message_id: str) -> tuple[str, ...]:
        ours = [order for order in map(_order, content.orders) if self._is_ours(work, order)]
        if not ours:
            return ()
        patient_key = work.patients.record(_patient(content.patient))
        moved: list[str] = []
        for order in ours:
            order_id = work.orders.record(order, patient_key, message_id)
            moved += work.matching.match_changed(order_id, required=self._require_order)
        return tuple(moved)

    def _is_ours(self, work: UnitOfWork, order: OrderData) -> bool:
        """Whether to keep an order; a cancellation that does not say of what must concern one that is known."""
        return bool(order.service) or not self._rules.service_codes or work.orders.knows(order)


def _names(body: bytes) -> tuple[str, str, str]:
    """Sender, control id and kind as a message names itself, fit to be stored; empty where it does not."""
    try:
        header = read_header(body)
    except ValueError:
        return "", "", ""
    kind = header.separators.component.join(header.field(9).split(header.separators.component)[:2])
    parts = (f"{header.field(3).strip()}|{header.field(4).strip()}", header.control_id.strip(), kind.strip())
    sender, control_id, kind = ("".join(char for char in part if char.isprintable())[:400] for part in parts)
    return sender, control_id, kind


def _patient(record: PatientRecord) -> PatientData:
    return PatientData(_identifiers(record.identifiers), record.family, record.given, record.birth_date, record.sex)


def _identifiers(identifiers: Sequence[Identifier]) -> tuple[PatientIdentifier, ...]:
    return tuple(PatientIdentifier(each.value, each.authority) for each in identifiers)


def _order(line: OrderLine) -> OrderData:
    placer, filler = line.placer, line.filler
    return OrderData(
        action=OrderAction(line.action.value),
        accession=line.accession.number,
        accession_issuer=next((part for part in line.accession.issuer if part), ""),
        placer_order=placer.number if placer else None,
        placer_issuer="^".join(placer.issuer) if placer else "",
        filler_order=filler.number if filler else None,
        filler_issuer="^".join(filler.issuer) if filler else "",
        service=line.service,
        specimen=line.specimen,
        collected=line.collected,
    )
