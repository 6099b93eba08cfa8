"""SIGKILL of the receiver between the file, its row and the answer: what was answered with success is there, whole and once.

python -m tests.reliability.dicom_kills --times 20          # every step so often, then as often at random
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE

from db.session import Database
from flows.dicom_accept import STEPS as DESK_STEPS
from integrations.dicom.catalogue import SYNTAXES
from integrations.dicom.part10 import STEPS as FILE_STEPS
from integrations.dicom.part10 import split_file
from tests.dicom_objects import Kind
from tests.dicom_receiving import write_small

STEPS = (*FILE_STEPS, *DESK_STEPS)
NEVER = "never"


class Lives:
    """Several lives of one receiver, and what senders were told in them.

    Parameters
    ----------
    folder : Path
    files : sequence of Path
        Objects to be sent.
    url : str or None
        Of the database; SQLite in `folder` by default.
    """

    def __init__(self, folder: Path, files: Sequence[Path], url: str | None = None) -> None:
        self.store = folder / "store"
        self.url = url or f"sqlite:///{folder / 'sphero.db'}"
        self.files = {str(dcmread(file).SOPInstanceUID): file for file in files}
        self.accepted: list[str] = []
        with Database(self.url) as database:
            database.upgrade()

    @contextmanager
    def one(self, step: str = NEVER, number: int = 1) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """One life, which ends by itself at the `number`-th `step`; gives the process and its port."""
        command = [sys.executable, "-m", "tests.reliability.dicom_child", self.url, str(self.store), step, str(number)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                yield process, int(process.stdout.readline())
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(30)

    def send(self, port: int, files: Sequence[Path]) -> None:
        """Send on one association; notes what was answered with success, and ends when the receiver does."""
        entity = AE("SCANNER")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
        for syntax in list(SYNTAXES)[:2]:
            entity.add_requested_context(Kind.MICROSCOPIC.sop_class, syntax)
        association = entity.associate("127.0.0.1", port, ae_title="SPHERO")
        for file in files:
            if not association.is_established:
                return
            data_set = dcmread(file)
            try:
                answer = association.send_c_store(data_set)
            except (RuntimeError, ValueError):  # the association ended meanwhile
                return
            if answer and answer.Status == 0x0000:
                self.accepted.append(str(data_set.SOPInstanceUID))
        if association.is_established:
            association.release()

    def wrong(self, *, complete: bool) -> list[str]:
        """What is not as it must be; `complete`: everything was sent until it was accepted."""
        found = []
        with Database(self.url) as database, database.reading() as work:
            rows = work.instances.list(limit=100_000)
            chain_broken = bool(work.audit.verify().problems)
        uids = [row.sop_instance_uid for row in rows]
        found += [f"{uid} was accepted and is lost" for uid in set(self.accepted) - set(uids)]
        found += [f"{uid} is recorded twice" for uid in set(uids) if uids.count(uid) > 1]
        for row in rows:
            path = self.store / row.stored_name
            sent = split_file(self.files[row.sop_instance_uid].read_bytes())
            if not path.is_file() or bytes(split_file(path.read_bytes()).data_set) != bytes(sent.data_set):
                found.append(f"{row.sop_instance_uid} is recorded and its file is not whole")
        if complete:
            found += [f"{uid} was never accepted" for uid in set(self.files) - set(self.accepted)]
            kept = {str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file()}
            found += [f"{name} is stray" for name in kept ^ {row.stored_name for row in rows}]
        return found + (["the audit chain is broken"] if chain_broken else [])


def killed_at(folder: Path, step: str, url: str | None = None) -> list[str]:
    """Kill at a step of the second of three objects; then send what was not accepted again. Gives what is wrong."""
    lives = Lives(folder, [write_small(folder / "sent", number) for number in (1, 2, 3)], url)
    with lives.one(step, 2) as (process, port):
        lives.send(port, list(lives.files.values()))
        process.wait(30)
    if process.returncode != -signal.SIGKILL:
        return [f"the receiver ended with {process.returncode} instead of being killed"]
    found = lives.wrong(complete=False)
    with lives.one() as (_, port):
        lives.send(port, [file for uid, file in lives.files.items() if uid not in lives.accepted])
    return found + lives.wrong(complete=True)


def killed_at_random(folder: Path, times: int, seed: int = 1) -> list[str]:
    """Kill at random while four associations send, so many times, until everything is accepted; gives what is wrong."""
    chance = random.Random(seed)
    lives = Lives(folder, [write_small(folder / "sent", number, side=200) for number in range(1, 4 * times + 1)])
    found: list[str] = []
    for round_number in range(times + 1):
        last = round_number == times
        left = [file for uid, file in lives.files.items() if uid not in lives.accepted]
        share = left if last else left[:12]
        with lives.one() as (process, port):
            threads = [threading.Thread(target=lives.send, args=(port, share[start::4])) for start in range(4)]
            for thread in threads:
                thread.start()
            if not last:
                time.sleep(chance.uniform(0.0, 0.6))
                os.kill(process.pid, signal.SIGKILL)
            for thread in threads:
                thread.join(120)
        found += lives.wrong(complete=last)
    return found


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    begun, problems = time.monotonic(), []
    for number in range(times):
        for step in STEPS:
            with tempfile.TemporaryDirectory(prefix="sphero-kills-") as folder:
                problems += [f"{step} {number}: {problem}" for problem in killed_at(Path(folder), step)]
    with tempfile.TemporaryDirectory(prefix="sphero-kills-") as folder:
        problems += [f"at random: {problem}" for problem in killed_at_random(Path(folder), times)]
    for problem in problems:
        print(problem)
    print(
        f"{len(STEPS)} steps x {times} and {times} at random: {len(problems)} problems, {time.monotonic() - begun:.0f} s"
    )
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
