"""`sphero order`: what came from the LIS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.message import readable
from flows.cli.output import AsJson, fail, print_facts, print_json, print_rows
from flows.cli.records import one_order, open_database

if TYPE_CHECKING:
    from db.order_views import InboundView, MergeView, OrderView, PatientIdentifier
    from db.session import UnitOfWork

app = typer.Typer(help="Orders and other messages that came from the LIS.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_orders(
    state: Annotated[str, typer.Option(help="Only orders in this state: ordered or cancelled.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the orders, the latest first."""
    from db.states import OrderState

    if state and state not in list(OrderState):
        raise typer.BadParameter(f"states are {', '.join(OrderState)}", param_hint="--state")
    with open_database().reading() as work:
        orders = work.orders.list(OrderState(state) if state else None, limit=limit)
    print_rows([_row(order) for order in orders], as_json=as_json, empty="no orders")


@app.command("show")
def show_order(
    order: Annotated[str, typer.Argument(help="The order's id, accession, placer or filler number.")],
    as_json: AsJson = False,
) -> None:
    """Show one order with its patient, and the message that last changed it. Both name the patient."""
    with open_database().reading() as work:
        shown = _details(work, one_order(work, order))
    if as_json:
        print_json(shown)
        return
    text, merges = shown.pop("text"), shown.pop("merged")
    print_facts(shown)
    if merges:
        print("\nidentifiers that were merged into the patient")
        print_rows(merges, as_json=False, empty="")
    if text:
        print(f"\nlast message\n{text}")


@app.command("received")
def list_received(
    message: Annotated[
        str, typer.Argument(metavar="[MESSAGE]", help="Show this one, by its id or control id; it names the patient.")
    ] = "",
    state: Annotated[str, typer.Option(help="Only messages in this state, such as refused.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the messages that came from the LIS with what was answered, the latest first; or show one."""
    from db.states import InboundState

    if state and state not in list(InboundState):
        raise typer.BadParameter(f"states are {', '.join(InboundState)}", param_hint="--state")
    with open_database().reading() as work:
        if message:
            found = [_one_received(work, message)]
        else:
            found = list(work.inbound.list(InboundState(state) if state else None, limit=limit))
    if not message:
        print_rows([_received_row(each) for each in found], as_json=as_json, empty="no messages")
        return
    text, answer = readable(found[0].body), readable(found[0].answer or b"")
    if as_json:
        print_json({**_received_row(found[0]), "sha256": found[0].sha256, "text": text, "answer text": answer})
        return
    print_facts({**_received_row(found[0]), "sha256": found[0].sha256})
    print(f"\n{text}\n\nanswer\n{answer or '(none)'}")


def _one_received(work: UnitOfWork, message: str) -> InboundView:
    from db.errors import NotFound

    try:
        return work.inbound.get(message)
    except NotFound:
        found = work.inbound.find(message)
    if not found:
        fail("no such message was received; `sphero order received` shows them all")
    return found[0]


def _row(order: OrderView) -> dict[str, Any]:
    return {
        "order": order.order_id,
        "accession": order.accession,
        "placer": order.placer_order,
        "filler": order.filler_order,
        "service": order.service or None,
        "state": order.state.value,
        "case": order.case_id,
        "changed": order.updated_at,
    }


def _details(work: UnitOfWork, order: OrderView) -> dict[str, Any]:
    patient = order.patient
    text = readable(work.inbound.get(order.message_id).body) if order.message_id else None
    return {
        **_row(order),
        "accession issuer": order.accession_issuer or None,
        "placer issuer": order.placer_issuer or None,
        "filler issuer": order.filler_issuer or None,
        "collected": order.collected,
        "specimen": order.specimen or None,
        "patient": ", ".join(map(_identifier, patient.identifiers)),
        "name": ", ".join(part for part in (patient.family, patient.given) if part) or None,
        "born": patient.birth_date,
        "sex": patient.sex,
        "merged": [_merge(merge) for merge in work.patients.merges_of(order.patient_key)],
        "text": text,
    }


def _merge(merge: MergeView) -> dict[str, Any]:
    return {"was": _identifier(merge.prior), "is": _identifier(merge.survivor), "since": merge.at}


def _identifier(identifier: PatientIdentifier) -> str:
    return f"{identifier.value} ({identifier.authority})"


def _received_row(message: InboundView) -> dict[str, Any]:
    return {
        "message": message.message_id,
        "kind": message.kind,
        "from": message.sender,
        "control id": message.control_id,
        "state": message.state.value,
        "answer": message.answer_code,
        "received": message.received_at,
        "why": message.reason,
    }
