"""A Prefect database without rows: services of tests begin with a copy, since making its tables takes them ten seconds each.

`tests/e2e/test_demo.py` begins without one, as a new user does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

_MAKE = """
import asyncio, os
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
os._exit(0)
"""
MAKE_SECONDS = 240.0


def give_prefect_database(home: Path) -> None:
    """Put a copy of the database into a service's folder of Prefect, where there is none yet."""
    target = home / "prefect.db"
    if target.exists():
        return
    home.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    home.mkdir(exist_ok=True, mode=0o700)
    shutil.copyfile(_template(), target)
    target.chmod(0o600)


def _template() -> Path:
    """The file to copy; made by the first who asks, the others wait."""
    folder = Path(tempfile.gettempdir()) / f"sphero-tests-prefect-{version('prefect')}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder / "prefect.db"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=folder) as home:
                file = Path(home) / "prefect.db"
                url = f"sqlite+aiosqlite:///{file}"
                environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
                environment |= {"PREFECT_HOME": home, "PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
                subprocess.run([sys.executable, "-c", _MAKE], env=environment, check=True, timeout=MAKE_SECONDS)
                _fold_journal(file)
                file.replace(made)
    return made


def _fold_journal(file: Path) -> None:
    """Bring what stands in the write-ahead log into the file, so that the file alone is all of it."""
    connection = sqlite3.connect(file)
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    assert busy == 0
