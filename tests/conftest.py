"""Fixtures that tests of every kind share, and the summary of what could not be tested here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import PEER_PREFIX

if TYPE_CHECKING:
    from tests.postgresql import PostgresqlServer

ROOT = Path(__file__).resolve().parent.parent

# Tests of serving may import TensorFlow before those of training, which need Keras 2 of it (see `sphero_core.training`).
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Start one real PostgreSQL for the whole session."""
    from tests.postgresql import PostgresqlServer, find_binaries

    with PostgresqlServer(find_binaries()) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """Give the SQLAlchemy URL of an empty database on a real PostgreSQL; it is dropped after the test."""
    name, url = postgresql_server.create_database()
    yield url
    postgresql_server.drop_database(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of public smear data beside the checkout; tests that need it are skipped without it."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no ../shared/data beside the checkout (public data sets, not part of the repository)")
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each real peer that was missing, so that a green run does not hide what was never tried."""
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _, found, rest = reason.partition(PEER_PREFIX)
        if found:
            missing[rest] += 1
    for peer, tests in sorted(missing.items()):
        terminalreporter.write_line(f"SKIPPED PEER: {peer} ({tests} tests)", yellow=True)
