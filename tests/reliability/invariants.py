"""What must hold after any run of the service, whatever was killed in it (`reliability.md` of the design, 1 to 8).

Looked up in the database, the audit log, what the LIS received, the store and every file that may not name a patient.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from db.session import Database, UnitOfWork
from db.states import CaseState, FieldState, HoldReason, MessageState
from db.views import FieldView
from integrations.hl7.ack import read_ack

ACCEPTED = frozenset({"AA", "CA"})
ONCE = ("case reported", "field analysed", "message delivered")
"""Moves that happen once to each case (of one version), field and message here."""


@dataclass
class Expected:
    """What was given to a service.

    Attributes
    ----------
    fields : mapping
        Good fields of each case, by accession number.
    refused : mapping
        Files that are no pictures, by accession number.
    doubled : set of str
        Cases whose bytes came before under another patient: held, never reported.
    secrets : set of str
        What stands in manifests and may stand nowhere but in tables and messages.
    """

    fields: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    doubled: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)


def problems(
    database: Database,
    expected: Expected,
    received: Sequence[bytes],
    *,
    store: Path,
    quarantine: Path,
    texts: Iterable[Path] = (),
) -> list[str]:
    """Everything that does not hold, in words; empty where all is well.

    Parameters
    ----------
    received : sequence of bytes
        Every message that the LIS received, repeats included.
    store, quarantine : Path
    texts : iterable of Path
        Logs and databases that may not hold what identifies a patient.
    """
    with database.reading() as work:
        return [
            *_of_cases(work, expected),
            *_of_messages(work, received),
            *_of_audit(work),
            *_of_files(work, expected, store, quarantine),
            *_of_texts(expected.secrets, texts),
        ]


def settled(database: Database, expected: Expected) -> bool:
    """Whether everything that was given has come to its end."""
    with database.reading() as work:
        for accession in expected.fields:
            case_id = work.identities.find(accession)
            if case_id is None:
                return False
            case = work.cases.get(case_id)
            if case.state is not (CaseState.HELD if accession in expected.doubled else CaseState.REPORTED):
                return False
        waiting = work.outbox.summary().counts
        return all(count == 0 for state, count in waiting.items() if state is not MessageState.DELIVERED)


def _of_cases(work: UnitOfWork, expected: Expected) -> Iterator[str]:
    """1 and 4: each field has one end; the same bytes under another patient are held."""
    for accession, count in expected.fields.items():
        case_id = work.identities.find(accession)
        if case_id is None:
            yield f"case {accession} is lost"
            continue
        case, fields = work.cases.get(case_id), work.fields.of_case(case_id)
        if len(fields) != count:
            yield f"case {accession} has {len(fields)} fields instead of {count}"
        if accession in expected.doubled:
            if case.state is not CaseState.HELD or HoldReason.CONFLICT not in case.hold_reasons:
                yield f"case {accession} has another patient's bytes and is {case.state}"
            if work.outbox.of_case(case_id):
                yield f"case {accession} has another patient's bytes and was told"
            continue
        if case.state is not CaseState.REPORTED:
            yield f"case {accession} is {case.state} {case.hold_reasons}"
        for each in fields:
            if each.state is not FieldState.ANALYSED:
                yield f"a field of case {accession} is {each.state} ({each.reason})"
        if len(work.reports.of_case(case_id)) != 1:
            yield f"case {accession} has {len(work.reports.of_case(case_id))} reports"


def _of_messages(work: UnitOfWork, received: Sequence[bytes]) -> Iterator[str]:
    """2 and 3: delivered means acknowledged under our control id; the LIS has each message, and repeats are the same bytes."""
    messages = {message.control_id: message for message in work.outbox.list(limit=1_000_000)}
    arrived: dict[str, set[bytes]] = {}
    for body in received:
        arrived.setdefault(body.split(b"|")[9].decode(), set()).add(body.rstrip(b"\r"))
    for control_id, message in messages.items():
        if message.state is not MessageState.DELIVERED:
            yield f"message {control_id} is {message.state} ({message.reason})"
            continue
        ack = read_ack(message.ack or b"")
        if ack.code not in ACCEPTED or ack.control_id != control_id:
            yield f"message {control_id} counts as delivered by {ack.code} for {ack.control_id}"
        if arrived.get(control_id) != {message.body.rstrip(b"\r")}:
            yield f"message {control_id} arrived {len(arrived.get(control_id, ()))} times with different bytes, or not at all"
    for control_id in arrived.keys() - messages.keys():
        yield f"the LIS has message {control_id}, which is not ours"
    told = Counter((message.case_id, message.revision, message.destination) for message in messages.values())
    for (case_id, revision, destination), count in told.items():
        if count != 1:
            yield f"version {revision} of case {case_id} is told {count} times to {destination}"


def _of_audit(work: UnitOfWork) -> Iterator[str]:
    """5: the chain verifies, and each move has one event."""
    yield from (f"audit: {problem}" for problem in work.audit.verify().problems)
    seen: Counter[tuple[str, str | None, str]] = Counter()
    for event in work.audit.list(limit=1_000_000):
        if event.action in ONCE:
            detail = json.loads(event.detail)
            what = detail.get("field") or detail.get("message") or detail.get("revision")
            seen[event.action, event.case_id, str(what)] += 1
    for (action, case_id, what), count in seen.items():
        if count != 1:
            yield f"audit: {action} of case {case_id} {what} stands there {count} times"


def _of_files(work: UnitOfWork, expected: Expected, store: Path, quarantine: Path) -> Iterator[str]:
    """7 and 8: what was refused is kept with its reason, nothing half written lies about."""
    kept = work.fields.quarantined_files(limit=1_000_000)
    if len(kept) != sum(expected.refused.values()):
        yield f"{len(kept)} files are in quarantine instead of {sum(expected.refused.values())}"
    for each in kept:
        folder = quarantine / (each.stored_name or "nowhere")
        if not (folder / "original").is_file() or not (folder / "reason.txt").is_file():
            yield f"refused file {each.quarantine_id} is not kept"
    for name in {each.stored_name for accession in expected.fields for each in _fields(work, accession)}:
        if not (store / name).is_file():
            yield f"{name} is recorded and not in the store"
    for folder in (store, quarantine):
        yield from (f"{path.name} is half written" for path in (folder / ".partial").glob("*"))


def _fields(work: UnitOfWork, accession: str) -> tuple[FieldView, ...]:
    case_id = work.identities.find(accession)
    return work.fields.of_case(case_id) if case_id is not None else ()


def _of_texts(secrets: set[str], texts: Iterable[Path]) -> Iterator[str]:
    """6: nobody is named where nobody may be."""
    for path in texts:
        content = path.read_bytes()
        yield from (f"{path.name} names a patient or an order" for secret in secrets if secret.encode() in content)
