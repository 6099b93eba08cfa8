"""What is wrong with what the service stands on, in words, for `/readyz` and the measures; None where nothing is."""

from __future__ import annotations

import os
from pathlib import Path

from db.errors import DatabaseError
from db.session import Database


def database_problem(database: Database) -> str | None:
    """What is wrong with our database."""
    try:
        with database.reading() as work:
            work.audit.head()
    except DatabaseError as error:
        return str(error)
    return None


def folder_problem(folder: Path) -> str | None:
    """What is wrong with the incoming folder; its share may be away."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        return f"the incoming folder cannot be listed ({error.strerror}); see [folder] path, mount the share"
    return None
