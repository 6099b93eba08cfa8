"""`sphero message resend|edit|skip`: what a person may do about a message; each is audited under the person's name."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.output import fail
from flows.cli.records import open_database, person

if TYPE_CHECKING:
    from db.session import UnitOfWork
    from db.views import MessageView

Messages = Annotated[list[str], typer.Argument(metavar="MESSAGE...", help="Ids or control ids.")]
By = Annotated[str, typer.Option(help="Who says so, for the audit; the login by default.")]
EDITORS = ("VISUAL", "EDITOR")


def resend_messages(
    messages: Annotated[list[str] | None, typer.Argument(metavar="[MESSAGE...]", help="Ids or control ids.")] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All parked ones of the destination --to.")] = False,
    to: Annotated[str, typer.Option(help="With --parked: the destination.")] = "",
    by: By = "",
) -> None:
    """Send messages again: the same bytes, in their old place, with fresh attempts."""
    from db.states import MessageState

    if parked == bool(messages) or parked != bool(to):
        raise typer.BadParameter("name messages, or give --parked with --to DESTINATION", param_hint="MESSAGE")
    names = messages or []
    if parked:
        with open_database().reading() as work:
            found = work.outbox.list(MessageState.PARKED, destination=to, limit=100_000)
        names = [message.message_id for message in found]
    _each(names, by, lambda work, message: work.outbox.resend(message.message_id), "waits to be sent again")


def skip_messages(
    messages: Messages,
    reason: Annotated[str, typer.Option(help="Why, for the audit; no names, no numbers of patients or orders.")],
    by: By = "",
) -> None:
    """Give messages up for good, so that those behind them can go."""
    if not reason.strip():
        raise typer.BadParameter("must say something", param_hint="--reason")
    _each(messages, by, lambda work, message: work.outbox.skip(message.message_id, reason.strip()), "is skipped")


def edit_message(
    message: Annotated[str, typer.Argument(help="Id or control id of a parked message.")],
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The corrected text; $EDITOR is opened without it.")
    ] = None,
    by: By = "",
) -> None:
    """Correct a parked message: the corrected one gets a control id of its own and is sent instead.

    The parked one is kept with its history. The text names the patient: it is shown in the editor only.
    """
    from db.errors import IllegalMove, NotFound
    from db.states import MessageState
    from flows.corrections import text_of
    from integrations.errors import Hl7Error

    database = open_database()
    with database.reading() as work:
        try:
            view = work.outbox.find(message)
        except NotFound as error:
            fail(error)
    if view.state is not MessageState.PARKED:
        fail(f"only a parked message is edited; this one is {view.state}")
    try:
        if file is not None:
            body, control_id = _corrected(view, file.read_bytes())
        else:
            body, control_id = _edited(view, text_of(view.body))
        with database.transaction(person(by)) as work:
            queued = work.outbox.supersede(view.message_id, control_id=control_id, body=body)
    except (Hl7Error, IllegalMove) as error:
        fail(error)
    print(f"message {queued.message_id}, control id {queued.control_id}, waits to be sent instead of {view.control_id}")


def _each(names: list[str], by: str, act: Callable[[UnitOfWork, MessageView], None], done: str) -> None:
    """Do one thing to each message, and tell each; the exit code is 1 where one could not be done."""
    from db.errors import IllegalMove, NotFound

    database, failed = open_database(), False
    for name in names:
        try:
            with database.transaction(person(by)) as work:
                view = work.outbox.find(name)
                act(work, view)
            print(f"message {view.message_id}, control id {view.control_id}, {done}")
        except (IllegalMove, NotFound) as error:
            failed = True
            print(f"sphero: {error}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def _edited(view: MessageView, text: bytes) -> tuple[bytes, str]:
    """Let the person change the text, again until it may be sent or the person gives up."""
    from integrations.errors import Hl7Error

    editor = next((os.environ[name] for name in EDITORS if os.environ.get(name)), "vi")
    with tempfile.TemporaryDirectory(prefix="sphero-edit-") as folder:  # for its owner only
        path = Path(folder) / "message.hl7"
        path.write_bytes(text)
        while True:
            try:
                ended = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
            except OSError as error:
                fail(f"the editor {editor!r} cannot be started ({error.strerror}); set EDITOR, or use --file")
            if ended:
                fail(f"the editor ended with {ended}; nothing was queued")
            try:
                return _corrected(view, path.read_bytes())
            except Hl7Error as error:
                print(f"sphero: {error}", file=sys.stderr)
                if not sys.stdin.isatty() or not typer.confirm("Edit it again?", default=True):
                    fail("nothing was queued")


def _corrected(view: MessageView, text: bytes) -> tuple[bytes, str]:
    from flows.corrections import corrected

    return corrected(view, text)
