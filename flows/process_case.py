"""The flow `process-case`: one case from its fields to the acknowledged result."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas import State
from prefect.exceptions import Abort, PrefectSignal
from prefect.states import Completed, Failed

from db.errors import DatabaseError, IllegalMove, LeaseLost
from db.states import FieldState, MessageState
from db.views import CaseView, FieldView, MessageView
from flows.analyse import CaseResult
from flows.case_artifacts import Progress, show_case
from flows.deliver import DONE
from flows.errors import CaseStopped, FieldFatal, FieldRefused, FieldUnreadable
from flows.field_pipeline import analyse_all
from flows.log import tell
from flows.run_support import OUTSIDE, TASK, interruptible, shown_safely
from flows.run_texts import delivery_line, report_line
from flows.services import services
from sphero_core.scale import case_cell_diameter

log = logging.getLogger(__name__)

SCALE_FIELDS = 8  # the scale of a case is measured in so many fields; in all where these do not give it
ELSEWHERE_SECONDS = 5.0  # so long a run waits for the machine that delivers; what takes longer is shown as waiting
MOST_SENT = 20  # messages that a case's run sends at most at one destination, others' that were due before it included
WAITS = "analysed; nothing leaves before a person signs: see `sphero case list --waiting`"


@task(name="read fields", task_run_name="read fields", **TASK)
async def read_fields(case: CaseView, fields: Sequence[FieldView]) -> float | None:
    """Measure how large the red cells of a case are."""
    async with shown_safely(), _seeing_store():
        sizes = await _sizes(case, spread(fields, SCALE_FIELDS))
        diameter = case_cell_diameter(sizes)
        if diameter is None and len(fields) > SCALE_FIELDS:
            diameter = case_cell_diameter(await _sizes(case, fields))
    found = "no red cells to measure" if diameter is None else f"red cells are {diameter:.0f} pixels wide"
    get_run_logger().info("%s", found)
    return diameter


@task(name="analyse fields", task_run_name="{label}", **TASK)
async def analyse_fields(label: str, case: CaseView, diameter: float | None) -> State[Any]:  # noqa: ARG001  # names the run
    """Find and record the cells of every field that has no outcome yet: another attempt repeats nothing."""
    async with shown_safely(), _seeing_store():
        waiting = await asyncio.to_thread(_waiting, case)
        async with Progress(len(waiting)) as progress:

            def say(text: str) -> None:
                get_run_logger().info(text)
                progress.advance(len(text.splitlines()))  # a line a field

            refusals = await analyse_all(services(), case, waiting, diameter, say=say)
    for refusal in refusals:
        get_run_logger().warning("a field is put aside: %s", refusal)
    if refusals:
        return Completed(name="Quarantined", message="; ".join(refusals))
    return Completed()


@task(name="record result", task_run_name="record result", **TASK)
async def record_result(case: CaseView, owner: str) -> CaseResult | None:
    """Commit the result together with the messages that tell it; None where it waits for a person first."""
    async with shown_safely():
        result = await asyncio.to_thread(services().work.report, case, owner)
    get_run_logger().info("%s", WAITS if result is None else report_line(result.report))
    return result


@task(name="deliver result", task_run_name="deliver result", **TASK)
async def deliver_result(case_id: str, revision: int) -> State[Any]:
    """Send the messages of a case and wait for the answers."""
    async with shown_safely():
        messages = await _delivered(case_id, revision)
    for message in messages:
        get_run_logger().info("%s", delivery_line(message).removeprefix("- "))
    return _delivery_state(messages)


@flow(name="process-case", flow_run_name="case {case_id}, version {revision}", persist_result=False)
async def process_case(case_id: str, revision: int = 1) -> State[Any]:
    """Analyse the fields of a case, record the result, and deliver it.

    Parameters
    ----------
    case_id : str
        Our own id of the case, as `sphero case list` shows it.
    revision : int
        Version of the report that is wanted.
    """
    async with interruptible(), shown_safely():
        result: CaseResult | None = None
        with ExitStack() as expecting:
            try:
                result = await _analyse_case(case_id, expecting)
                if result is None:
                    return Completed(name="AwaitsSignature", message=WAITS)
            except CaseStopped as stopped:
                if stopped.outcome != "Reported":
                    state = Failed if stopped.outcome == "Held" else Completed
                    return state(name=stopped.outcome, message=str(stopped))
            delivery: State[Any] = await deliver_result(case_id, revision, return_state=True)  # type: ignore[misc]
        result = await show_case(case_id, result)
    if result is not None and result.report.not_obtained is not None:
        return Failed(name="NoResult", message=f"{report_line(result.report)}; {delivery.name}: {delivery.message}")
    put_aside = len(result.refused) if result is not None else 0
    said = f"; {put_aside} of {put_aside + len(result.fields)} fields were put aside" if result and put_aside else ""
    return State(type=delivery.type, name=delivery.name, message=f"{delivery.message}{said}")


async def _analyse_case(case_id: str, expecting: ExitStack) -> CaseResult | None:
    """Analyse and record a case; what is recorded is then expected to be delivered by this run.

    None where nothing leaves before a person signs.
    """
    owner = f"{services().owner}/{uuid.uuid4().hex[:12]}"
    case = await asyncio.to_thread(services().work.claim, case_id, owner)
    try:
        return await _analyse_claimed(case, owner, expecting)
    except LeaseLost:
        # The same run may be executed by another worker by now: then it is left as it is.
        stopped = await asyncio.to_thread(services().work.why_lost, case_id)
        if stopped is None:
            log.warning(
                "another worker has the case by now; nothing more of it is recorded here", extra={"case": case_id}
            )
        raise stopped or Abort("another worker has the case") from None


async def _analyse_claimed(case: CaseView, owner: str, expecting: ExitStack) -> CaseResult | None:
    async with _leased(case, owner):
        fields = await asyncio.to_thread(services().work.fields, case.case_id)
        waiting = sum(field.state is FieldState.ACCEPTED for field in fields)
        if waiting:
            diameter = await read_fields(case, fields)
            await analyse_fields("analyse 1 field" if waiting == 1 else f"analyse {waiting} fields", case, diameter)
        for sender in services().senders.values():
            expecting.enter_context(sender.expecting())
        return await record_result(case, owner)


def spread(fields: Sequence[FieldView], most: int) -> list[FieldView]:
    """At most so many fields, evenly spread over all."""
    if len(fields) <= most:
        return list(fields)
    return [fields[place * len(fields) // most] for place in range(most)]


async def _sizes(case: CaseView, fields: Sequence[FieldView]) -> list[Any]:
    """Sizes of the cells of each field that can be read."""
    work, model = services().work, services().model
    futures = [asyncio.wrap_future(model.measure(work.task(case, field))) for field in fields]
    measured = await asyncio.gather(*futures, return_exceptions=True)
    for outcome in measured:
        if isinstance(outcome, BaseException) and not isinstance(outcome, FieldRefused | FieldFatal):
            raise outcome
    return [outcome for outcome in measured if not isinstance(outcome, BaseException)]


def _waiting(case: CaseView) -> list[FieldView]:
    """The fields of a case that have no outcome yet."""
    return [field for field in services().work.fields(case.case_id) if field.state is FieldState.ACCEPTED]


async def _delivered(case_id: str, revision: int) -> tuple[MessageView, ...]:
    """Send what is due at every destination, and give the messages of this version as they stand then.

    Behind a long queue the case does not wait for its turn: the flow `deliver` sends it.
    """
    # At once: a destination that is slow to answer holds up no other.
    drains = [asyncio.to_thread(sender.drain, most=MOST_SENT) for sender in services().senders.values()]
    await _all_or_first_fault(drains)

    messages = await asyncio.to_thread(_messages_of, case_id, revision)
    until = time.monotonic() + ELSEWHERE_SECONDS
    while _is_for_others(messages) and time.monotonic() < until and not services().stopping.is_set():
        await asyncio.sleep(ELSEWHERE_SECONDS / 5)
        messages = await asyncio.to_thread(_messages_of, case_id, revision)
    return messages


def _is_for_others(messages: Sequence[MessageView]) -> bool:
    """Whether a message is on its way that another machine delivers."""
    senders = services().senders
    waiting = [message.destination for message in messages if message.state not in DONE]
    return any(name not in senders or not senders[name].is_permitted for name in waiting)


def _messages_of(case_id: str, revision: int) -> tuple[MessageView, ...]:
    """The messages that tell a version of a case, as they stand."""
    with services().database.reading() as work:
        return tuple(message for message in work.outbox.of_case(case_id) if message.revision == revision)


def _delivery_state(messages: Sequence[MessageView]) -> State[Any]:
    if not messages:
        return Completed(name="Recorded", message="no destination is set; the result is recorded here")
    said = "; ".join(delivery_line(message).removeprefix("- ") for message in messages)
    if any(message.state is MessageState.PARKED for message in messages):
        return Failed(name="Parked", message=said)
    if all(message.state in DONE for message in messages):
        return Completed(name="Delivered", message=said)
    return Completed(name="Waiting", message=f"recorded; the message waits and will be delivered by itself: {said}")


@asynccontextmanager
async def _seeing_store() -> AsyncIterator[None]:
    """Tell a field that cannot be read from a store that is away: the case is not to blame for the second."""
    try:
        yield
    except FieldUnreadable:
        await asyncio.to_thread(services().work.require_store)
        raise


async def _all_or_first_fault(steps: Sequence[Any]) -> None:
    """Run all; a fault of one does not stop the others, whose work then needs no repetition."""
    outcomes = await asyncio.gather(*steps, return_exceptions=True)
    faults = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if faults:
        raise faults[0]


@asynccontextmanager
async def _leased(case: CaseView, owner: str) -> AsyncIterator[None]:
    """Keep the lease of a case alive; give it back when the work ends before the case is reported."""
    work = services().work

    async def keep() -> None:
        while True:
            await asyncio.sleep(work.lease_seconds / 4)
            try:
                if not await asyncio.to_thread(work.renew, case.case_id, owner):
                    return
            except DatabaseError as error:
                log.warning("a lease was not renewed: %s", tell(error), extra={"case": case.case_id})

    keeper = asyncio.create_task(keep())
    spent = True
    try:
        yield
    except (*OUTSIDE, asyncio.CancelledError, PrefectSignal):
        spent = False
        raise
    finally:
        keeper.cancel()
        await _give_back(case.case_id, owner, spent=spent)


async def _give_back(case_id: str, owner: str, *, spent: bool) -> None:
    try:
        await asyncio.shield(asyncio.to_thread(services().work.give_back, case_id, owner, spent=spent))
    except (DatabaseError, IllegalMove) as error:
        log.warning("a lease was not given back and will run out: %s", tell(error), extra={"case": case_id})
