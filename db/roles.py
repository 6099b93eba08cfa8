"""Who may do what on PostgreSQL: an owner that migrates, a service without a way around the audit, a reader for figures.

The service role has no DDL and owns nothing, so that it can neither drop a trigger nor change or remove what is append
only. A table that is new here and in none of these lists may be read, inserted into and updated, and never deleted from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import URL, Connection, text

APPEND_ONLY = frozenset(
    {
        "audit_events",
        "reports",
        "report_acts",
        "report_files",
        "result_objects",
        "cell_reviews",
        "patient_merges",
        "pledge_items",
    }
)
"""The service reads and inserts, and nothing else."""

EMPTIED = frozenset({"case_holds", "cell_measures", "cells", "duties", "store_failures"})
"""From these the service also deletes: what stands in them is passing, or goes by the retention policy."""

READ = frozenset({"alembic_version"})
"""The service only reads."""

WITHOUT_PERSONS = frozenset(
    {
        "alembic_version",
        "analyses",
        "audit_events",
        "audit_head",
        "case_holds",
        "cases",
        "cell_measures",
        "cells",
        "fields",
        "quarantined_files",
        "removals",
        "reports",
        "result_objects",
        "stored_files",
    }
)
"""What the reader reads: no names, numbers of patients or orders, comments, messages or addresses of pictures."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of the three roles."""

    owner: str = "sphero_owner"
    service: str = "sphero_service"
    reader: str = "sphero_reader"


def setup_sql(url: URL, roles: Roles) -> str:
    """Return the SQL that makes the roles and hands the database to the owner; it may run again.

    An administrator of the server runs it, connected to the database itself. Passwords are not in it.

    Parameters
    ----------
    url : URL
        Of the database.
    """
    quoted = {name: _identifier(getattr(roles, name)) for name in ("owner", "service", "reader")}
    database = _identifier(str(url.database))
    made = "\n".join(_role(getattr(roles, name)) for name in ("owner", "service", "reader"))
    return f"""\
-- Roles of Spheroflow for the database {url.database}; run by an administrator, connected to that database.
{made}
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {quoted["owner"]};
GRANT CONNECT ON DATABASE {database} TO {quoted["service"]}, {quoted["reader"]};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO {quoted["owner"]};
GRANT USAGE ON SCHEMA public TO {quoted["service"]}, {quoted["reader"]};
-- Tables that another role made before become the owner's.
DO $$ DECLARE found record; BEGIN
  FOR found IN SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') LOOP
    EXECUTE format('ALTER TABLE public.%I OWNER TO {quoted["owner"]}', found.relname);
  END LOOP;
  IF to_regprocedure('public.sphero_refuse()') IS NOT NULL THEN
    ALTER FUNCTION public.sphero_refuse() OWNER TO {quoted["owner"]};
  END IF;
END $$;
-- Next: give each role its password (\\password in psql), then `sphero db upgrade` with the owner's URL.
"""  # noqa: S608  # names of the settings, quoted


def grant(connection: Connection, roles: Roles) -> tuple[str, ...]:
    """Give service and reader their rights on the tables that are there, and take away every other; name who got some.

    Roles that the server does not know are left out: an installation may do with one role.
    """
    granted = []
    for role, rights in ((roles.service, service_rights), (roles.reader, reader_rights)):
        if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}):
            continue
        name = _identifier(role)
        connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}"))
        connection.execute(text(f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {name}"))
        for table in _tables(connection):
            if given := rights(table):
                connection.execute(text(f"GRANT {', '.join(given)} ON public.{_identifier(table)} TO {name}"))
        if role == roles.service:
            connection.execute(text(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}"))
        granted.append(role)
    return tuple(granted)


def service_rights(table: str) -> tuple[str, ...]:
    """What the service may do with a table."""
    if table in READ:
        return ("SELECT",)
    if table in APPEND_ONLY:
        return ("SELECT", "INSERT")
    return ("SELECT", "INSERT", "UPDATE", "DELETE") if table in EMPTIED else ("SELECT", "INSERT", "UPDATE")


def reader_rights(table: str) -> tuple[str, ...]:
    """What the reader may do with a table."""
    return ("SELECT",) if table in WITHOUT_PERSONS else ()


def excess(connection: Connection) -> Iterator[str]:
    """Give what the connected role may do and the service needs not, each in words; nothing for a role with least rights."""
    role = connection.execute(
        text("SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = current_user")
    ).one()
    for held, words in zip(
        role, ("is a superuser", "may make roles", "may make databases", "may pass row security"), strict=True
    ):
        if held:
            yield words
    if connection.scalar(text("SELECT has_schema_privilege('public', 'CREATE')")):
        yield "may make tables and functions"
    owned = text(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND pg_has_role(current_user, tableowner, 'USAGE')"
    )
    if connection.scalar(owned):
        yield "owns tables, and may drop what guards them"
    may = text("SELECT has_table_privilege(to_regclass(:table), :right)")
    for table in sorted({*APPEND_ONLY, "audit_head", "messages"}):
        forbidden = {"DELETE", "TRUNCATE", "TRIGGER"} | ({"UPDATE"} if table in APPEND_ONLY else set())
        held = [
            right for right in sorted(forbidden) if connection.scalar(may, {"table": f"public.{table}", "right": right})
        ]
        if held:
            yield f"has {', '.join(held)} on {table}"


def in_clear(connection: Connection) -> bool:
    """Whether the connection goes over a network without TLS."""
    row = connection.execute(
        text("SELECT host(inet_server_addr()), (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())")
    ).one()
    address, secured = row
    return address is not None and not secured and not (address.startswith("127.") or address == "::1")


def _tables(connection: Connection) -> list[str]:
    query = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return list(connection.scalars(query))


def _role(role: str) -> str:
    literal = role.replace("'", "''")
    return (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{literal}') THEN "
        f"CREATE ROLE {_identifier(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS; END IF; END $$;"
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
