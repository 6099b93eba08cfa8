"""The flow `watch-folder`: one long run that looks again and again for what came, into the folder and over the network.

A run a look would bury what matters and let Prefect's database grow; so a run lasts some minutes, and shows a task only
where something came.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed, Failed

from db.errors import DatabaseError
from db.instance_views import InstanceView
from flows.duties import FOLDER
from flows.log import tell
from flows.run_support import TASK, interruptible, shown_safely
from flows.run_texts import taken_row
from flows.services import services
from flows.taken import Pile, Taken
from integrations.errors import FolderError
from integrations.folder.scanner import CaseFolder, Scan

log = logging.getLogger(__name__)

TROUBLE_SECONDS = 15.0  # until the next look where the last one failed: a full disk is not fuller a second later


@task(name="take files", task_run_name="take {count} files", **TASK)
async def take_files(count: int, folder: CaseFolder) -> Taken:  # noqa: ARG001  # count names the task run
    """Take in the files of one case that have stopped changing."""
    async with shown_safely():
        taken = await asyncio.to_thread(services().intake.take, folder)
    get_run_logger().info(
        "case %s: %d new fields, %d known before, %d refused",
        taken.case_id,
        taken.fields,
        taken.known,
        len(taken.refused),
    )
    for reason in taken.refused:
        get_run_logger().warning("case %s: a file is put aside: %s", taken.case_id, reason)
    return taken


@task(name="put files aside", task_run_name="put {count} files aside", **TASK)
async def put_aside(count: int, scan: Scan) -> Taken:  # noqa: ARG001
    """Put files aside that belong to no case."""
    async with shown_safely():
        taken = await asyncio.to_thread(services().intake.take_misplaced, scan.misplaced)
    for reason in taken.refused:
        get_run_logger().warning("a file is put aside: %s", reason)
    return taken


@task(name="assemble instances", task_run_name="assemble {count} instances", **TASK)
async def assemble_instances(count: int, instances: Sequence[InstanceView]) -> list[Taken]:  # noqa: ARG001
    """Make fields of DICOM instances that came over the network."""
    came: dict[str | None, Pile] = {}
    async with shown_safely():
        for instance in instances:
            if services().stopping.is_set():
                break
            taken = await asyncio.to_thread(services().assembly.assemble, instance)
            came.setdefault(taken.case_id, Pile()).add(taken)
    for case_id, pile in came.items():
        get_run_logger().info(
            "case %s: %d new fields, %d known before, %d refused", case_id, pile.fields, pile.known, len(pile.refused)
        )
        for reason in pile.refused:
            get_run_logger().warning("case %s: an instance is put aside: %s", case_id, reason)
    return [pile.taken() for pile in came.values()]


@flow(name="watch-folder", flow_run_name="watch folder", persist_result=False)
async def watch_folder(minutes: float = 10.0) -> State[Any]:
    """Watch the incoming folder, take files in, and complete cases.

    Parameters
    ----------
    minutes : float
        How long this run lasts; the next one follows by itself.
    """
    came: list[Taken] = []
    completed: list[str] = []
    problem: str | None = None
    end = time.monotonic() + 60 * minutes
    async with interruptible(), shown_safely():
        while time.monotonic() < end and not services().stopping.is_set() and services().duties.holds(FOLDER):
            now = full = services().disk.problem  # it has its line in our log already, and is cheap to ask again
            try:
                if full is None:
                    await _look_once(came, completed)
            except (FolderError, DatabaseError) as error:
                now = tell(error)
            if now != problem and now is not None:
                if full is None:
                    log.warning("the folder is not watched now: %s", now)
                get_run_logger().error("%s", now)
            problem = now
            pause = services().scan_seconds if now == full else max(services().scan_seconds, TROUBLE_SECONDS)
            await _wait(min(end, time.monotonic() + pause))
        if came:
            await acreate_table_artifact(table=[taken_row(taken) for taken in came], description="What came in")
    said = f"{sum(taken.fields for taken in came)} fields came in, {len(completed)} cases were completed"
    refused = sum(len(taken.refused) for taken in came)
    said += f", {refused} files were put aside" if refused else ""
    return Failed(message=f"{said}; {problem}") if problem else Completed(message=said)


async def _look_once(came: list[Taken], completed: list[str]) -> None:
    at_hand = services()
    # First what needs no share: instances become fields also while the folder is away.
    instances = await asyncio.to_thread(at_hand.assembly.waiting)
    if instances and not at_hand.stopping.is_set():
        came.extend(await assemble_instances(len(instances), instances))
    scan = await asyncio.to_thread(at_hand.intake.look)
    for folder in scan.cases:
        if folder.ready and not at_hand.stopping.is_set():
            taken = await take_files(len(folder.ready), folder)
            came.append(taken)
            log.info(
                "files taken in",
                extra={
                    "case": taken.case_id,
                    "fields": taken.fields,
                    "refused": len(taken.refused),
                    "later": taken.later,
                },
            )
    if scan.misplaced:
        came.append(await put_aside(len(scan.misplaced), scan))
    moved = await asyncio.to_thread(at_hand.completion.finish, scan)
    if moved:
        completed.extend(moved)
        at_hand.nudge()


async def _wait(until: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(services().stopping.wait(), max(0.0, until - time.monotonic()))
