"""Random tampering with the audit log, by somebody who may do anything in the database; each must be found.

    python -m tests.audit_tampering --count 10000

The forger knows how hashes are computed and moves the head along; what cannot be reached are the heads that were kept
outside. What is found must name an event at or after the first that was touched.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, create_engine, delete, insert, text, update
from sqlalchemy.orm import Session

from db.audit import GENESIS, AuditLog, event_hash
from db.context import Context, utc_now
from db.schema import AuditHeadRow, AuditRow
from db.session import Database
from db.views import AuditEvent, AuditHead, AuditVerdict

EVENTS = 24
ANCHORED = (7, 15, EVENTS)
Events = list[AuditEvent]


@dataclass(frozen=True, slots=True)
class Forgery:
    """What the log looks like afterwards; `first` is the first event that is not as it was."""

    events: Events
    first: int
    head: AuditHead | None


def rechained(events: Events, first: int) -> Events:
    """Number and chain the events anew from `first` on, as if they had been written so."""
    made = events[: first - 1]
    for event in events[first - 1 :]:
        previous = made[-1].hash if made else GENESIS
        fresh = replace(event, sequence=len(made) + 1, previous_hash=previous)
        content = {name: value for name, value in asdict(fresh).items() if name != "hash"}
        made.append(replace(fresh, hash=event_hash(**content)))
    return made


def end_of(events: Events) -> AuditHead:
    return AuditHead(events[-1].sequence, events[-1].hash) if events else AuditHead(0, GENESIS)


def _changed(event: AuditEvent, chance: random.Random) -> AuditEvent:
    moved = event.at + timedelta(microseconds=chance.choice([-1, 1]) * chance.randint(1, 10**9))
    number = chance.randint(1, EVENTS)
    column, value = chance.choice(
        [
            ("at", moved),
            ("actor", f"{event.actor}{number}"),
            ("action", f"{event.action} {number}"),
            ("case_id", None if event.case_id else "other"),
            ("detail", f'{{"forged":{number}}}'),
            ("hash", f"{chance.getrandbits(256):064x}"),
            ("previous_hash", f"{chance.getrandbits(256):064x}"),
        ]
    )
    return replace(event, **{column: value})  # type: ignore[arg-type]


def edit(events: Events, chance: random.Random) -> Forgery:
    place = chance.randrange(len(events))
    events[place] = _changed(events[place], chance)
    return Forgery(events, place + 1, end_of(events))


def edit_rehashed(events: Events, chance: random.Random) -> Forgery:
    place = chance.randrange(len(events))
    forged = replace(events[place], detail='{"forged":true}')
    content = {name: value for name, value in asdict(forged).items() if name != "hash"}
    events[place] = replace(forged, hash=event_hash(**content))
    return Forgery(events, place + 1, end_of(events))


def edit_rewritten(events: Events, chance: random.Random) -> Forgery:
    place = chance.randrange(len(events))
    events[place] = replace(events[place], detail='{"forged":true}')
    made = rechained(events, place + 1)
    return Forgery(made, place + 1, end_of(made))


def cut(events: Events, chance: random.Random) -> Forgery:
    first = chance.randrange(len(events) - 1)
    last = chance.randrange(first, len(events) - 1)
    return Forgery(events[:first] + events[last + 1 :], first + 1, end_of(events))


def cut_rewritten(events: Events, chance: random.Random) -> Forgery:
    first = chance.randrange(len(events) - 1)
    made = rechained(events[:first] + events[first + 1 :], first + 1)
    return Forgery(made, first + 1, end_of(made))


def swap(events: Events, chance: random.Random) -> Forgery:
    one, two = sorted(chance.sample(range(len(events)), 2))
    first, second = events[one], events[two]
    events[one], events[two] = replace(second, sequence=one + 1), replace(first, sequence=two + 1)
    return Forgery(events, one + 1, end_of(events))


def swap_rewritten(events: Events, chance: random.Random) -> Forgery:
    one, two = sorted(chance.sample(range(len(events)), 2))
    events[one], events[two] = events[two], events[one]
    made = rechained(events, one + 1)
    return Forgery(made, one + 1, end_of(made))


def put_in(events: Events, chance: random.Random) -> Forgery:
    place = chance.randrange(len(events))
    forged = replace(events[place], actor="forger")
    made = rechained([*events[:place], forged, *events[place:]], place + 1)
    return Forgery(made, place + 1, end_of(made))


def tail_cut(events: Events, chance: random.Random) -> Forgery:
    kept = chance.randrange(len(events))
    return Forgery(events[:kept], kept + 1, end_of(events[:kept]))


def tail_cut_only(events: Events, chance: random.Random) -> Forgery:
    kept = chance.randrange(len(events))
    return Forgery(events[:kept], kept + 1, end_of(events))


def tail_regrown(events: Events, chance: random.Random) -> Forgery:
    kept = chance.randrange(len(events))
    grown = [replace(event, actor="forger") for event in events[kept:]] * 2
    made = rechained(events[:kept] + grown, kept + 1)
    return Forgery(made, kept + 1, end_of(made))


def head_gone(events: Events, chance: random.Random) -> Forgery:
    return Forgery(events, len(events), None)


def head_moved(events: Events, chance: random.Random) -> Forgery:
    end = end_of(events)
    moved = chance.choice([replace(end, sequence=chance.randrange(EVENTS)), replace(end, hash="0" * 64)])
    return Forgery(events, len(events), moved)


KINDS: tuple[Callable[[Events, random.Random], Forgery], ...] = (
    edit,
    edit_rehashed,
    edit_rewritten,
    cut,
    cut_rewritten,
    swap,
    swap_rewritten,
    put_in,
    tail_cut,
    tail_cut_only,
    tail_regrown,
    head_gone,
    head_moved,
)


def write(connection: Connection, forgery: Forgery) -> None:
    connection.execute(delete(AuditRow))
    connection.execute(delete(AuditHeadRow))
    if forgery.events:
        connection.execute(insert(AuditRow), [asdict(event) for event in forgery.events])
    if forgery.head is not None:
        connection.execute(insert(AuditHeadRow).values(head_id=1, sequence=0, hash=GENESIS))
        connection.execute(update(AuditHeadRow).values(sequence=forgery.head.sequence, hash=forgery.head.hash))


def verdict_of(connection: Connection, anchors: list[AuditHead]) -> AuditVerdict:
    with Session(connection) as session:
        return AuditLog(Context(session, utc_now, "forger")).verify(anchors)


def first_named(verdict: AuditVerdict) -> int:
    return min(int(problem.removeprefix("event ").split(":")[0]) for problem in verdict.problems)


def tamper(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Tamper `count` times; give how often in each way, and what was not found or told at the wrong place."""
    chance = random.Random(seed)
    tried: Counter[str] = Counter()
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'sphero.db'}"
        with Database(url) as database:
            database.upgrade()
            for number in range(EVENTS):
                with database.transaction("test") as work:
                    work.audit.append("tried", "case" if number % 3 else None, number=number)
            with database.reading() as work:
                whole = list(work.audit.list())
        anchors = [AuditHead(whole[n - 1].sequence, whole[n - 1].hash) for n in ANCHORED]
        engine = create_engine(url)
        with engine.begin() as connection:
            for trigger in ("audit_events_frozen", "audit_events_kept", "audit_head_kept", "audit_head_moves_on"):
                connection.execute(text(f"DROP TRIGGER {trigger}"))
        with engine.connect() as connection:
            assert verdict_of(connection, anchors).intact
            connection.rollback()
            for number in range(count):
                forge = KINDS[number % len(KINDS)]
                forgery = forge(list(whole), chance)
                write(connection, forgery)
                verdict = verdict_of(connection, anchors)
                connection.rollback()
                tried[forge.__name__] += 1
                if verdict.intact:
                    missed.append(f"{number} {forge.__name__}: not found")
                elif first_named(verdict) < forgery.first - 1:
                    missed.append(f"{number} {forge.__name__}: event {first_named(verdict)}, not {forgery.first}")
        engine.dispose()
    return tried, missed


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Random tampering with the audit log: is each found?")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    begun = time.monotonic()
    tried, missed = tamper(given.count, given.seed)
    for kind, times in sorted(tried.items()):
        print(f"{kind:16} {times:6}")
    print(f"{sum(tried.values())} tamperings, {len(missed)} not found, {time.monotonic() - begun:.0f} s")
    for line in missed[:20]:
        print(line)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
