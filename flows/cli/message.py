"""`sphero message`: the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.output import AsJson, fail, print_facts, print_json, print_rows
from flows.cli.records import open_database

if TYPE_CHECKING:
    from db.views import MessageView

app = typer.Typer(help="The outbox.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_messages(
    state: Annotated[str, typer.Option(help="Only messages in this state, such as parked.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the messages in the order in which they were queued."""
    from db.states import MessageState

    if state and state not in list(MessageState):
        raise typer.BadParameter(f"states are {', '.join(MessageState)}", param_hint="--state")
    with open_database().reading() as work:
        messages = work.outbox.list(MessageState(state) if state else None, limit=limit)
    print_rows([_row(message) for message in messages], as_json=as_json, empty="no messages")


@app.command("show")
def show_message(
    message: Annotated[str, typer.Argument(help="The message's id or its control id.")],
    as_json: AsJson = False,
) -> None:
    """Show one message with its text and the answer. Both name the patient."""
    from db.errors import NotFound

    with open_database().reading() as work:
        try:
            view = work.outbox.get(message)
        except NotFound:
            found = [each for each in work.outbox.list(limit=100_000) if each.control_id == message]
            if not found:
                fail("there is no such message; `sphero message list` shows them all")
            view = found[0]
    answer = readable(view.ack) if view.ack else None
    if as_json:
        print_json({**_row(view), "sha256": view.sha256, "text": readable(view.body), "ack": answer})
        return
    print_facts({**_row(view), "sha256": view.sha256})
    print(f"\n{readable(view.body)}")
    if answer:
        print(f"\nanswer\n{answer}")


def readable(message: bytes) -> str:
    """A message with one segment a line."""
    return message.decode("utf-8", errors="replace").replace("\r", "\n").strip()


def _row(message: MessageView) -> dict[str, Any]:
    return {
        "message": message.message_id,
        "case": message.case_id,
        "version": message.revision,
        "to": message.destination,
        "state": message.state.value,
        "answer": message.ack_code,
        "attempts": message.attempts,
        "control id": message.control_id,
        "queued": message.created_at,
        "why": message.reason,
    }
