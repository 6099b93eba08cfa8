"""A PostgreSQL database as a site runs it: an owner that migrates, a service with least rights, a reader."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import psycopg
from sqlalchemy import make_url

from db.roles import Roles, setup_sql
from db.session import Database

PASSWORD = secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class RoleUrls:
    """The URL of each role."""

    owner: str
    service: str
    reader: str


def run_sql(admin_url: str, statements: str) -> None:
    """Run SQL as it stands, as psql would."""
    with psycopg.connect(admin_url.replace("postgresql+psycopg://", "postgresql://"), connect_timeout=10) as connection:
        connection.execute(statements.encode())


def role_urls(admin_url: str) -> RoleUrls:
    """The URL of a database for each role."""
    url, roles = make_url(admin_url), Roles()
    owner, service, reader = (
        url.set(username=role, password=PASSWORD).render_as_string(hide_password=False)
        for role in (roles.owner, roles.service, roles.reader)
    )
    return RoleUrls(owner, service, reader)


def with_roles(admin_url: str, *, upgraded: bool = True) -> RoleUrls:
    """Make the roles by the SQL that `sphero db roles` prints, and bring the tables up as their owner."""
    url, roles = make_url(admin_url), Roles()
    run_sql(admin_url, setup_sql(url, roles))
    for role in (roles.owner, roles.service, roles.reader):
        run_sql(admin_url, f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    urls = role_urls(admin_url)
    if upgraded:
        with Database(urls.owner) as database:
            database.upgrade()
            assert database.grant(roles) == (roles.service, roles.reader)
    return urls
