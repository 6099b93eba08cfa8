"""How commands print: tables for people, JSON for programs, one line for a failure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object) -> None:
    """Print a value as JSON; times in ISO 8601."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows as a table whose columns fit, or as JSON."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(empty)
        return
    columns = list(rows[0])
    cells = [[_shown(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[place]) for line in cells)) for place, column in enumerate(columns)]
    for line in [columns, *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name.ljust(width)}  {_shown(value)}")


def fail(error: Exception | str) -> NoReturn:
    """Tell a failure in one line and end with exit code 1."""
    if isinstance(error, str):
        text = error
    else:
        from flows.log import tell

        text = _plain(error) or tell(error)
        if text.startswith("unexpected"):
            text += "; run it again with --debug to see where"
    print(f"sphero: {' '.join(text.split())}", file=sys.stderr)
    raise SystemExit(1)


def _plain(error: Exception) -> str | None:
    """What the system says about a file that the user named."""
    if isinstance(error, OSError) and error.strerror is not None and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    return None


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    return str(value)
