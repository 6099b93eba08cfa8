"""`sphero config`: the settings as they are in force."""

from __future__ import annotations

from typing import Any

import typer

from flows.cli.output import AsJson, print_json

app = typer.Typer(name="config", help="The settings.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Show the settings."""


@app.command("show")
def show(as_json: AsJson = False) -> None:
    """Show every setting in force, from file, environment and defaults; passwords are hidden, and files that hold some only named."""
    from flows.config import load_settings
    from flows.secret_files import shown

    values = shown(load_settings())
    if as_json:
        print_json(values)
        return
    for section, keys in values.items():
        if isinstance(keys, list):  # a section that may stand there several times, or not at all
            for each in keys:
                _print(f"[{section}]", each)
        else:
            _print(section, keys)


def _print(section: str, keys: dict[str, Any]) -> None:
    tables = {key: value for key, value in keys.items() if isinstance(value, dict)}
    lists = {
        key: value for key, value in keys.items() if value and isinstance(value, list) and isinstance(value[0], dict)
    }
    print(f"[{section}]")
    for key, value in keys.items():
        if key not in tables and key not in lists:
            print(f"{key} = {_told(value)}")
    print()
    for key, value in tables.items():
        _print(f"{section}.{key}", value)
    for key, values in lists.items():
        for value in values:
            _print(f"[{section}.{key}]", value)


def _told(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_told(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
