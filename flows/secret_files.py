"""Secrets: read from files, and hidden wherever settings are shown.

    SPHERO_DATABASE__URL_FILE=/run/secrets/database-url      the value of [database] url stands in that file

Any key can be given so; what container engines and systemd hand over as files needs no copy in an environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flows.errors import SettingsError

SUFFIX = "_file"
HIDDEN = "***"
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s]*?):([^@\s]*)@")
_SECRET_IN_QUERY = re.compile(r"(?i)([?&](?:password|token|secret|key|sig)=)[^&\s]*")
_AFTER_HOST = re.compile(r"^(\w+://)(?:[^/@]*@)?([^/?#]*).*$", re.DOTALL)
_LARGEST = 64 * 1024


def with_files(variables: Mapping[str, str | None], is_key: Callable[[list[str]], bool]) -> dict[str, str | None]:
    """Put the content of files in the place of variables that name them.

    Parameters
    ----------
    variables : mapping
        Environment variables by their names in lower case, such as ``sphero_database__url_file``.
    is_key : callable
        Whether section and key, in lower case, are a setting.

    Raises
    ------
    SettingsError
        Names the variable whose file cannot be read, or that is given together with its value.
    """
    found = dict(variables)
    for name, file in variables.items():
        key = name.removesuffix(SUFFIX)
        place = name.partition("_")[2].split("__")
        if key == name or file is None or is_key(place) or not is_key(key.partition("_")[2].split("__")):
            continue
        if variables.get(key) is not None:
            raise SettingsError(f"{key.upper()} and {name.upper()} are both given: give one of them")
        del found[name]
        found[key] = _read(name.upper(), Path(file))
    return found


def _read(variable: str, file: Path) -> str:
    try:
        content = file.read_bytes()[: _LARGEST + 1]
        if len(content) <= _LARGEST:
            return content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(f"{variable}: its file cannot be read ({reason})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: its file is no text in UTF-8") from None
    raise SettingsError(f"{variable}: its file is larger than {_LARGEST} bytes")


def hidden(text: str, key: str = "") -> str:
    """The text with passwords in URLs hidden; of a webhook, whose whole address is a secret, only the host is left."""
    if key == "webhook_url" and text:
        return _AFTER_HOST.sub(rf"\1\2/{HIDDEN}", text)
    return _SECRET_IN_QUERY.sub(rf"\1{HIDDEN}", _PASSWORD_IN_URL.sub(rf"\1:{HIDDEN}@", text))


def shown(settings: BaseModel) -> dict[str, Any]:
    """Settings as plain values that may be shown to anybody: secrets are hidden."""
    values: dict[str, Any] = _hidden(settings.model_dump(mode="json"))
    return values


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: hidden(each, key) if isinstance(each, str) else _hidden(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return hidden(value) if isinstance(value, str) else value


def read_secret(file: Path, key: str) -> str:
    """The first line of a file.

    Parameters
    ----------
    file : Path
    key : str
        Of the settings, for the error; such as ``[prefect] auth_file``.

    Raises
    ------
    SettingsError
        Names key and file, never what stands in it.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(f"{key}: {file} cannot be read ({reason})") from None
    if not lines or not lines[0].strip():
        raise SettingsError(f"{key}: {file} is empty; its first line is the secret")
    return lines[0].strip()
