"""How the service keeps its Prefect server alive, with a clock that is set by hand."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from flows.prefect_server import PrefectServer
from flows.service import HEALTH_SECONDS, MOST_SILENT, PREFECT_SECONDS, Service
from flows.settings import Paths, Settings
from flows.wiring import EngineChoice
from tests.fakes import FACTORY


class Server:
    """Stands in for the child process."""

    def __init__(self) -> None:
        self.pid: int | None = 1
        self.answers = True
        self.begun = 0

    def start(self) -> None:
        self.pid = 1
        self.begun += 1

    def stop(self) -> None:
        self.pid = None


class Watched:
    """A service of which only the watching is used."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.server = Server()
        self._service = Service(
            Settings(paths=Paths(data=folder)), engine=EngineChoice(FACTORY, ""), clock=lambda: self.now
        )
        self._service._prefect = cast("PrefectServer", self.server)

    def watch(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            self._service._watch_prefect()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_server_that_falls_silent_is_begun_anew(watched: Watched) -> None:
    watched.watch(60)
    watched.server.answers = False
    watched.watch((MOST_SILENT - 1) * HEALTH_SECONDS)
    assert watched.server.begun == 0
    watched.watch(2 * HEALTH_SECONDS)
    assert watched.server.begun == 1


def test_a_server_that_is_begun_anew_is_given_the_time_to_begin(watched: Watched) -> None:
    """A minute is not enough on a busy machine: one that is killed while it begins never answers."""
    watched.server.answers, watched.server.pid = False, None
    watched.watch(PREFECT_SECONDS)
    assert watched.server.begun == 1
    watched.watch((MOST_SILENT + 2) * HEALTH_SECONDS)
    assert watched.server.begun == 2


def test_once_it_answers_silence_counts_again(watched: Watched) -> None:
    watched.server.pid = None
    watched.watch(2 * HEALTH_SECONDS)
    watched.server.answers = False
    watched.watch((MOST_SILENT + 1) * HEALTH_SECONDS)
    assert watched.server.begun == 2
