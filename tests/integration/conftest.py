"""Fixtures of the integration tests: each database test runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from db.session import Database
from tests.database_examples import ManualClock
from tests.database_roles import role_urls, with_roles
from tests.database_template import give_tables
from tests.support import free_port

if TYPE_CHECKING:
    from tests.dicom_peers import Orthanc
    from tests.postgresql import PostgresqlServer


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sphero.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def clock() -> ManualClock:
    """Give a clock that stands until it is moved on."""
    return ManualClock()


@pytest.fixture(scope="session")
def upgraded_template(postgresql_server: PostgresqlServer) -> str:
    """Give the name of a PostgreSQL database with its tables and the rights of the roles, to be copied."""
    name, url = postgresql_server.create_database()
    with_roles(url)
    return name


@pytest.fixture
def database(database_url: str, clock: ManualClock, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Give a database with its tables, on a manual clock; on PostgreSQL as the role with least rights that the service has."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        give_tables(Path(str(url.database)))
        with Database(database_url, clock) as database:
            yield database
        return
    template = request.getfixturevalue("upgraded_template")
    request.getfixturevalue("postgresql_server").copy_database(template, str(url.database))
    with Database(role_urls(database_url).service, clock) as database:
        yield database


@pytest.fixture(scope="session")
def orthanc_server() -> Iterator[Orthanc]:
    """Start one real Orthanc for the whole session."""
    from tests.dicom_peers import OUR_AE_TITLE, Modality, Orthanc

    with Orthanc([Modality("sphero", OUR_AE_TITLE, free_port())]) as server:
        yield server


@pytest.fixture
def orthanc(orthanc_server: Orthanc) -> Orthanc:
    """Give a real Orthanc that stores nothing yet; it knows us under the name ``sphero``."""
    orthanc_server.clear()
    return orthanc_server
