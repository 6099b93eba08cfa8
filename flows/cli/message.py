"""`sphero message`: the outbox."""

from __future__ import annotations

from pathlib import Path
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
    message: Annotated[str, typer.Argument(help="The message's id or control id, or a file that holds messages.")],
    raw: Annotated[bool, typer.Option("--raw", help="The text as it is sent, one segment a line.")] = False,
    components: Annotated[bool, typer.Option("--components", help="Each component on its own line.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one message and the answer, each field with its name. Both name the patient."""
    from flows.cli.message_view import show

    if Path(message).is_file():
        show_file(Path(message), raw=raw, components=components, as_json=as_json)
        return
    view = _find(message)
    if as_json:
        print_json({**_row(view), "sha256": view.sha256, **_texts(view)})
        return
    print_facts({**_row(view), "sha256": view.sha256})
    print()
    show(view.body, raw=raw, components=components)
    if view.ack:
        print("\nanswer")
        show(view.ack, raw=raw, components=components)


def show_file(file: Path, *, raw: bool, components: bool, as_json: bool) -> None:
    """Show the messages in a file; ends with a line where it holds none."""
    from flows.cli.message_view import as_data, show
    from integrations.hl7.reading import messages_in

    try:
        messages = messages_in(file.read_bytes())
        if as_json:
            print_json([{"text": readable(each), "segments": as_data(each)} for each in messages])
            return
    except ValueError as error:
        fail(f"{file}: {error}")
    for number, each in enumerate(messages, start=1):
        if len(messages) > 1:
            print(f"{'' if number == 1 else chr(10)}message {number} of {len(messages)}")
        show(each, raw=raw, components=components)


def _find(message: str) -> MessageView:
    from db.errors import NotFound

    with open_database().reading() as work:
        try:
            return work.outbox.get(message)
        except NotFound:
            found = [each for each in work.outbox.list(limit=100_000) if each.control_id == message]
    if not found:
        fail("there is no such message, and no such file; `sphero message list` shows them all")
    return found[0]


def _texts(view: MessageView) -> dict[str, Any]:
    from flows.cli.message_view import as_data

    answer = {"ack": readable(view.ack), "ack_segments": as_data(view.ack)} if view.ack else {"ack": None}
    return {"text": readable(view.body), "segments": as_data(view.body), **answer}


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
