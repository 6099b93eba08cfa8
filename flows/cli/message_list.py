"""`sphero message list`: what waits, what was sent, and how the destinations stand."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.output import AsJson, print_rows
from flows.cli.records import one_case, open_database

if TYPE_CHECKING:
    from db.session import UnitOfWork
    from db.views import MessageView, OutboxMeasures

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def list_messages(
    state: Annotated[str, typer.Option(help="Only messages in this state, such as parked.")] = "",
    to: Annotated[str, typer.Option(help="Only to this destination.")] = "",
    case: Annotated[str, typer.Option(help="Only of this case: our id, or its accession number.")] = "",
    older: Annotated[str, typer.Option(help="Only what was queued so long ago, such as 30m, 2h or 1d.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    summary: Annotated[bool, typer.Option("--summary", help="One line a destination: depth, ages, latency.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the messages in the order in which they were queued."""
    from db.context import utc_now
    from db.states import MessageState

    if state and state not in list(MessageState):
        raise typer.BadParameter(f"states are {', '.join(MessageState)}", param_hint="--state")
    now = utc_now()
    before = now - duration(older) if older else None
    with open_database().reading() as work:
        if summary:
            rows = [_measures_row(work.outbox.measures(name), now, plain=as_json) for name in _destinations(work, to)]
        else:
            messages = work.outbox.list(
                MessageState(state) if state else None,
                destination=to or None,
                case_id=one_case(work, case).case_id if case else None,
                queued_before=before,
                limit=limit,
            )
            rows = [message_row(message, now, plain=as_json) for message in messages]
    print_rows(rows, as_json=as_json, empty="no destinations" if summary else "no messages")


def message_row(message: MessageView, now: datetime, *, plain: bool) -> dict[str, Any]:
    """One message without its text; ages in seconds where `plain`."""
    ended = message.delivered_at or now
    return {
        "message": message.message_id,
        "case": message.case_id,
        "version": message.revision,
        "to": message.destination,
        "object": message.control_id[:-16].lower() if message.part else "hl7",
        "state": message.state.value,
        "answer": message.ack_code,
        "attempts": message.attempts,
        "control id": message.control_id,
        "queued": message.created_at,
        "waited": _age(ended - message.created_at, plain=plain),
        "why": message.reason,
    }


def _destinations(work: UnitOfWork, only: str) -> list[str]:
    """Those of the settings, and those of earlier settings that still have messages."""
    from flows.config import load_settings

    settings = load_settings()
    names = [each.name for each in settings.hl7.destination]
    names += [each.name for each in settings.dicom.archive]
    names += [name for name in work.outbox.destinations() if name not in names]
    return [name for name in names if only in ("", name)]


def _measures_row(measures: OutboxMeasures, now: datetime, *, plain: bool) -> dict[str, Any]:
    oldest, latency = measures.oldest_unsent_at, measures.latency
    seconds = (latency.median, latency.p95, latency.longest) if latency else (None, None, None)
    median, p95, longest = (None if value is None else round(value, 3) for value in seconds)
    return {
        "to": measures.destination,
        "waiting": measures.depth,
        "unknown": measures.unknown,
        "parked": measures.parked,
        "oldest": None if oldest is None else _age(now - oldest, plain=plain),
        "answers": latency.count if latency else 0,
        "median s": median,
        "95 % s": p95,
        "longest s": longest,
    }


def duration(text: str) -> timedelta:
    """Read a duration such as 30m."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise typer.BadParameter("give a number and s, m, h or d, such as 30m", param_hint="--older")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _age(age: timedelta, *, plain: bool) -> str | float:
    seconds = max(age.total_seconds(), 0.0)
    if plain:
        return round(seconds, 3)
    for size, unit, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} {int(seconds % size // smaller)} {small}"
    return f"{seconds:.1f} s"
