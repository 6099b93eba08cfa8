"""The flow `deliver`: what waits for one destination leaves; started by itself when there is something and it answers."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed, Failed

from db.states import MessageState
from db.views import MessageView
from flows.case_runs import show_parked
from flows.run_support import TASK, interruptible, shown_safely
from flows.run_texts import delivery_line, messages_table
from flows.services import services

BATCH = 1000
MOST_LISTED = 200
MOST_NAMED = 5  # refused messages that the run's end names
MOST_TOLD = 20  # accepted messages that get a line of their own in the run's log


@task(name="send messages", task_run_name="send what waits for {destination}", **TASK)
async def send_messages(destination: str) -> tuple[MessageView, ...]:
    """Send up to a batch of what is due."""
    async with shown_safely():
        sent = await asyncio.to_thread(services().senders[destination].drain, most=BATCH)
    accepted = [message for message in sent if message.state is MessageState.DELIVERED]
    for message in sent:
        if message.state is not MessageState.DELIVERED or len(accepted) <= MOST_TOLD:
            get_run_logger().info("case %s %s", message.case_id, delivery_line(message))
    if len(accepted) > MOST_TOLD:
        get_run_logger().info("%d messages were accepted", len(accepted))
    return sent


@flow(name="deliver", flow_run_name="deliver to {destination}", persist_result=False)
async def deliver(destination: str) -> State[Any]:
    """Send everything that is due at a destination.

    Parameters
    ----------
    destination : str
        Its name in the settings.
    """
    at_hand = services()
    if destination not in at_hand.senders:
        return Failed(message=f"no destination has this name; known are {', '.join(at_hand.senders) or 'none'}")
    tried: list[MessageView] = []
    async with interruptible(), shown_safely():
        while not at_hand.stopping.is_set():
            sent = await send_messages(destination)
            tried += sent
            if len(sent) < BATCH:
                break
        parked = [message.case_id for message in tried if message.state is MessageState.PARKED]
        await show_parked(list(dict.fromkeys(parked))[:MOST_LISTED])
        if tried:
            await acreate_table_artifact(table=messages_table(tried[-MOST_LISTED:]), description="What was sent")
    return _outcome(tried, at_hand.senders[destination].problem)


def _outcome(tried: list[MessageView], problem: str | None) -> State[Any]:
    delivered = sum(message.state is MessageState.DELIVERED for message in tried)
    parked = [message for message in tried if message.state is MessageState.PARKED]
    said = f"{delivered} of {len(tried)} messages were accepted"
    if parked:
        named = "; ".join(f"case {message.case_id}: {message.reason}" for message in parked[:MOST_NAMED])
        more = f"; and {len(parked) - MOST_NAMED} more" if len(parked) > MOST_NAMED else ""
        return Failed(name="Parked", message=f"{len(parked)} were refused, a person must look: {named}{more}. {said}")
    if problem:
        return Completed(name="Waiting", message=f"{said}; the destination cannot be reached now ({problem})")
    return Completed(message=said if tried else "nothing was due")
