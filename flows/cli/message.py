"""`sphero message`: the outbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import message_actions, message_list
from flows.cli.output import AsJson, fail, print_facts, print_json
from flows.cli.records import open_database

if TYPE_CHECKING:
    from db.views import MessageView

app = typer.Typer(help="The outbox.", no_args_is_help=True, rich_markup_mode=None)


app.command("list")(message_list.list_messages)
app.command("resend")(message_actions.resend_messages)
app.command("edit")(message_actions.edit_message)
app.command("skip")(message_actions.skip_messages)


@app.command("show")
def show_message(
    message: Annotated[str, typer.Argument(help="The message's id, control id or SOP UID, or a file of messages.")],
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
    if view.part:
        show_object(view, as_json=as_json)
        return
    if as_json:
        print_json({**_row(view), "sha256": view.sha256, **_texts(view)})
        return
    print_facts({**_row(view), "sha256": view.sha256})
    print()
    show(view.body, raw=raw, components=components)
    if view.ack:
        print("\nanswer")
        show(view.ack, raw=raw, components=components)


@app.command("guide")
def guide(
    profile: Annotated[str, typer.Argument(help="A shipped profile, or a file such as lis.toml.")] = "default",
) -> None:
    """Print the message guide of a profile, in Markdown: for the engineer of the receiving system."""
    from flows.config import load_settings
    from integrations.hl7.guide import guide as written
    from integrations.hl7.profile_file import load_profile

    settings = load_settings()
    facility = settings.hl7.sending_facility or settings.site.name
    sender = settings.hl7.sending_application
    chosen = load_profile(profile, Path.cwd(), sending_application=sender, sending_facility=facility)
    print(written(chosen), end="")


def show_object(view: MessageView, *, as_json: bool) -> None:
    """Show a message that brings a DICOM object: its UIDs and file, and whether the archive confirmed that it keeps it."""
    from dataclasses import asdict

    from flows.archive_transport import object_of

    with open_database().reading() as work:
        told = work.objects.commitments_of([view.message_id]).get(view.message_id)
    commitment = (
        None
        if told is None
        else {
            "commitment": told.state.value,
            "asked": told.requests,
            "settled": told.settled_at,
            "because": told.reason,
        }
    )
    shown = {**_row(view), **asdict(object_of(view)), **(commitment or {"commitment": None})}
    if as_json:
        print_json(shown)
    else:
        print_facts(shown)


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
            return work.outbox.find(message)
        except NotFound:
            fail("there is no such message, and no such file; `sphero message list` shows them all")


def _texts(view: MessageView) -> dict[str, Any]:
    from flows.cli.message_view import as_data

    answer = {"ack": readable(view.ack), "ack_segments": as_data(view.ack)} if view.ack else {"ack": None}
    return {"text": readable(view.body), "segments": as_data(view.body), **answer}


def readable(message: bytes) -> str:
    """A message with one segment a line."""
    from integrations.hl7.reading import text_of

    return text_of(message).replace("\r", "\n").strip()


def _row(message: MessageView) -> dict[str, Any]:
    from db.context import utc_now

    return message_list.message_row(message, utc_now(), plain=False)
