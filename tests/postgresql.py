"""A real PostgreSQL server for tests: private, temporary, on loopback, with its own password."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from tests.support import free_port, missing_peer, wait_for

START_SECONDS = 60.0
STOP_SECONDS = 30.0
USER = "sphero"

# Durability against a power cut is not what these tests look at; SIGKILL of the server loses nothing with these.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


def find_binaries() -> Path:
    """Return the folder with initdb and postgres: the newest of Debian's, or the one on PATH.

    A machine without them misses the peer ``postgresql``.
    """
    installed = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if installed:
        return max(installed, key=lambda path: int(path.parent.name))
    initdb = shutil.which("initdb") or missing_peer("postgresql", "apt-get install postgresql")
    return Path(initdb).resolve().parent


def unprivileged_user() -> str | None:
    """Return the account to run the server as: None for our own; initdb refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class PostgresqlServer:
    """One server in a temporary folder; `stop` (or leaving the context) removes it.

    `settings` go before those of the tests; `networks` are let in beside this machine, where it listens elsewhere too. The server process receives SIGINT when the thread that started it dies, so that a killed test run leaves none.
    """

    def __init__(
        self, binaries: Path, *, settings: Mapping[str, str] | None = None, networks: Sequence[str] = ()
    ) -> None:
        self._binaries = binaries
        self._networks = networks
        self._settings = {**SETTINGS, **(settings or {})}
        self._account = unprivileged_user()
        self._root = Path(tempfile.mkdtemp(prefix="sphero-postgresql-"))
        self._data = self._root / "data"
        self._log = self._root / "server.log"
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = 0

    def __enter__(self) -> Self:
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _initialise(self) -> None:
        password_file = self._root / "password"
        password_file.write_text(self._password + "\n")
        if self._account is not None:
            entry = pwd.getpwnam(self._account)
            for path in (self._root, password_file):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        command = [str(self._binaries / "initdb"), "--pgdata", str(self._data), "--username", USER]
        command += ["--pwfile", str(password_file), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        command += ["--locale", "C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            self._as_account(command), cwd="/", capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr.strip()}")
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {network} scram-sha-256\n" for network in self._networks)

    def _as_account(self, command: list[str]) -> list[str]:
        prefix = ["setpriv", "--pdeathsig", "INT"]
        if self._account is not None:
            prefix += [f"--reuid={self._account}", f"--regid={pwd.getpwnam(self._account).pw_gid}", "--clear-groups"]
        return [*prefix, *command]

    def start(self) -> None:
        """Start the server (again, on the same port, after `kill`) and wait until it answers."""
        self.port = self.port or free_port()
        settings = {"listen_addresses": "127.0.0.1", **self._settings, "unix_socket_directories": str(self._root)}
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        self._launch(command)
        wait_for(lambda: self._answers(command), START_SECONDS, what="PostgreSQL")

    def _launch(self, command: list[str]) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._as_account(command), cwd="/", stdout=log, stderr=log)

    def _answers(self, command: list[str]) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = self._log.read_text(errors="replace")
            if "pre-existing shared memory block" not in log:
                raise RuntimeError(f"PostgreSQL ended at its start: {log[-2000:]}")
            self._launch(command)  # backends of a killed server are still on their way out
            return False
        try:
            psycopg.connect(self._conninfo("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={USER} password={self._password} dbname={database}"

    def switch_tls(self, certificate: Path | None, key: Path | None = None) -> None:
        """Speak TLS with a certificate (None: no more) on connections that come from now on."""
        settings = {"ssl": "off"}
        if certificate is not None and key is not None:
            settings = {"ssl_cert_file": "server.pem", "ssl_key_file": "server.key", "ssl": "on"}
            for source, name in ((certificate, "server.pem"), (key, "server.key")):
                target = self._data / name
                target.write_bytes(source.read_bytes())
                target.chmod(0o600)
                if self._account is not None:
                    entry = pwd.getpwnam(self._account)
                    os.chown(target, entry.pw_uid, entry.pw_gid)
        for name, value in settings.items():
            statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            self._execute(statement)
        self._execute(sql.SQL("SELECT pg_reload_conf()").format())
        wait_for(lambda: self._speaks_tls() == (settings["ssl"] == "on"), START_SECONDS, what="the server's TLS")

    def _speaks_tls(self) -> bool:
        with psycopg.connect(self._conninfo("postgres"), connect_timeout=5) as connection:
            return connection.execute("SHOW ssl").fetchone() == ("on",)

    def kill(self) -> None:
        """Kill the server without warning, as a crash would; `start` brings it back with its data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Stop the server and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self._root, ignore_errors=True)

    def create_database(self) -> tuple[str, str]:
        """Create an empty database; return its name and its SQLAlchemy URL (driver psycopg)."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return name, f"postgresql+psycopg://{USER}:{self._password}@127.0.0.1:{self.port}/{name}"

    def copy_database(self, template: str, name: str) -> None:
        """Put a copy of a database that nobody is connected to in the place of another one."""
        self.drop_database(name)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the connections that a test left open."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._conninfo("postgres"), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)
