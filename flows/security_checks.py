"""What `sphero doctor` says of the service's user and of who else could read what it keeps."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from db.session import sqlite_file
from flows.findings import Check, is_loopback
from flows.places import places_of
from flows.settings import Settings

AS_ROOT = "runs as root: whoever breaks into it has the machine"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def runs_as_root() -> bool:
    """Whether this process has every right."""
    return os.geteuid() == 0


def security_checks(settings: Settings) -> Iterator[Check]:
    """Look at the user, at the rights on what is kept, at files that hold secrets, and at what is served in the clear."""
    yield (
        Check("user", "note", AS_ROOT, "run it as a user of its own, see deploy/systemd/spheroflow.service")
        if runs_as_root()
        else Check("user", "ok", "does not run as root")
    )
    yield _rights(settings)
    if (open_secrets := [file for file in secret_files(settings) if _open_to_others(file)]) != []:
        found = f"{len(open_secrets)} files with secrets can be read by others, the first is {open_secrets[0]}"
        yield Check("secrets", "note", found, "chmod 600, and give them to the service's user")
    if not settings.http.tls and not is_loopback(settings.http.host):
        remedy = "set [http] tls with cert_file and key_file, or put a proxy in front of 127.0.0.1"
        yield Check("http", "note", f"{settings.http.host} is served in the clear, pictures included", remedy)


def _rights(settings: Settings) -> Check:
    places = places_of(settings)
    kept = [*places.ours.values()]
    if (database := sqlite_file(settings.database.url)) is not None:
        kept += [database, database.with_name(f"{database.name}-wal")]
    wrong = [path for path in kept if _open_to_others(path)]
    if wrong:
        names = ", ".join(path.name for path in wrong)
        remedy = f"chmod go= {' '.join(str(path) for path in wrong)}"
        return Check("rights", "fail", f"others than the service's user may look into: {names}", remedy)
    return Check("rights", "ok", "what is kept is the service's user's only")


def secret_files(section: BaseModel) -> Iterator[Path]:
    """Files of the settings that hold a secret: private keys, passwords, tokens."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, BaseModel):
                yield from secret_files(each)
            elif isinstance(each, Path) and name.endswith(
                ("key_file", "password_file", "token_file", "auth_file", "url_file")
            ):
                yield each


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False
