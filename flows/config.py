"""The settings read: `sphero.toml`, overridden by environment variables ``SPHERO_<SECTION>__<KEY>``.

`SPHERO_CONFIG` names the file; without it `sphero.toml` of the current folder is taken, and without that the defaults.
Relative paths are meant from the folder of the file. Whatever is wrong is told at once: every wrong key by its name, with
what is allowed there, and never with its value, which may be a password.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSetting

from flows.audit_settings import AuditSettings
from flows.dicom_settings import DicomSettings, PeerSettings
from flows.errors import SettingsError
from flows.operations_settings import AlertSettings
from flows.setting_types import Section, TlsSection
from flows.settings import DATA, ENV_PREFIX, Destination, Hl7Settings, Settings

AnySection = TypeVar("AnySection", bound=TlsSection)
AnySectionAtAll = TypeVar("AnySectionAtAll", bound=Section)
AnyPeer = TypeVar("AnyPeer", bound=PeerSettings)

CONFIG_VARIABLE = "SPHERO_CONFIG"
FILE_NAME = "sphero.toml"
PROFILE_SUFFIX = ".toml"


def load_settings(file: Path | None = None, *, folder: Path | None = None) -> Settings:
    """Read and check the settings.

    Parameters
    ----------
    file : Path or None
        None: what `SPHERO_CONFIG` names, else ``sphero.toml`` in `folder` if there is one, else the defaults.
    folder : Path or None
        The current folder by default.

    Raises
    ------
    SettingsError
        Names every wrong key.
    """
    folder = folder or Path.cwd()
    if file is None and os.environ.get(CONFIG_VARIABLE):
        file = Path(os.environ[CONFIG_VARIABLE])
    if file is None and (folder / FILE_NAME).is_file():
        file = folder / FILE_NAME
    values: dict[str, Any] = {}
    if file is not None:
        file = file if file.is_absolute() else folder / file
        values, folder = _read_file(file), file.parent
    _refuse_unknown_variables(os.environ)
    return check_settings(values, folder)


def check_settings(values: Mapping[str, Any], folder: Path) -> Settings:
    """Check values as they stand in a file, and complete paths from `folder`.

    Raises
    ------
    SettingsError
    """
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False, include_input=False)]
        raise SettingsError("; ".join(dict.fromkeys(problems))) from None
    except UnreadableSetting:
        raise SettingsError(
            f"an environment variable {ENV_PREFIX}<SECTION>__<KEY> cannot be read; lists and tables are given as JSON"
        ) from None
    _refuse_doubled_names(settings)
    return _completed(settings, folder.absolute())


def _refuse_doubled_names(settings: Settings) -> None:
    destinations = [each.name for each in settings.hl7.destination]
    archives = [each.name for each in settings.dicom.archive]
    stores = [each.name for each in settings.dicom.store]
    for section, names in (("hl7.destination", destinations), ("dicom.store", stores), ("dicom.archive", archives)):
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled:
            thing = section.rpartition(".")[2]
            raise SettingsError(f"[[{section}]] name: {doubled!r} stands twice; give each {thing} its own name")
    both = next((name for name in archives if name in destinations), None)  # the outbox knows them by name
    if both:
        raise SettingsError(f"[[dicom.archive]] name: {both!r} is an [[hl7.destination]] too; give it another name")


def _completed(settings: Settings, folder: Path) -> Settings:
    data = folder / settings.paths.data.expanduser()
    shared = folder / settings.paths.shared.expanduser() if settings.paths.shared else None
    incoming = folder / Path(settings.folder.path.replace(DATA, str(data))).expanduser()
    bundle = settings.model.bundle
    if not bundle.startswith("<"):
        bundle = str(folder / Path(bundle).expanduser())
    url = settings.database.url.replace(DATA, str(data))
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        url = f"sqlite:///{folder / url.removeprefix('sqlite:///')}"
    return settings.model_copy(
        update={
            "paths": settings.paths.model_copy(update={"data": data, "shared": shared}),
            "folder": settings.folder.model_copy(update={"path": str(incoming)}),
            "database": settings.database.model_copy(update={"url": url}),
            "model": settings.model.model_copy(update={"bundle": bundle}),
            "prefect": _completed_files(settings.prefect, folder, ("auth_file",)),
            "alerts": _completed_alerts(settings.alerts, folder),
            "hl7": _completed_hl7(settings.hl7, folder),
            "dicom": _completed_dicom(settings.dicom, folder),
            "http": _completed_tls(settings.http, folder),
            "audit": _completed_audit(settings.audit, data, folder),
        }
    )


def _completed_alerts(settings: AlertSettings, folder: Path) -> AlertSettings:
    mail = _completed_files(settings.mail, folder, ("ca_file", "password_file"))
    return _completed_files(settings, folder, ("webhook_url_file",)).model_copy(update={"mail": mail})


def _completed_hl7(settings: Hl7Settings, folder: Path) -> Hl7Settings:
    """Paths; a profile that does not end in the suffix is the name of a shipped one."""
    destinations = tuple(
        each.model_copy(update={"profile": str(folder / Path(each.profile).expanduser())})
        if each.profile.endswith(PROFILE_SUFFIX)
        else each
        for each in (_completed_folder(_completed_tls(each, folder), folder) for each in settings.destination)
    )
    return settings.model_copy(
        update={"destination": destinations, "listener": _completed_tls(settings.listener, folder)}
    )


def _completed_dicom(settings: DicomSettings, folder: Path) -> DicomSettings:
    return settings.model_copy(
        update={
            "receiver": _completed_tls(settings.receiver, folder),
            "store": tuple(_completed_peer(each, folder) for each in settings.store),
            "archive": tuple(_completed_peer(each, folder) for each in settings.archive),
        }
    )


def _completed_audit(settings: AuditSettings, data: Path, folder: Path) -> AuditSettings:
    anchors = folder / Path(settings.anchor_folder.replace(DATA, str(data))).expanduser()
    return settings.model_copy(
        update={"anchor_folder": str(anchors), "syslog": _completed_tls(settings.syslog, folder)}
    )


def _completed_peer(peer: AnyPeer, folder: Path) -> AnyPeer:
    return _completed_files(_completed_tls(peer, folder), folder, ("password_file", "token_file"))


def _completed_folder(destination: Destination, folder: Path) -> Destination:
    if destination.folder is None:
        return destination
    return destination.model_copy(update={"folder": folder / destination.folder.expanduser()})


def _completed_tls(section: AnySection, folder: Path) -> AnySection:
    return _completed_files(section, folder, ("ca_file", "cert_file", "key_file", "key_password_file"))


def _completed_files(section: AnySectionAtAll, folder: Path, keys: tuple[str, ...]) -> AnySectionAtAll:
    files = {key: getattr(section, key) for key in keys}
    return section.model_copy(update={key: folder / file.expanduser() for key, file in files.items() if file})


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(f"{file} cannot be read ({reason}); `sphero init` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """A misspelt section in the environment would else be ignored without a word."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    for variable in environment:
        section, nested, _ = variable.upper().partition("__")
        if variable.upper().startswith(ENV_PREFIX) and nested and section not in known:
            raise SettingsError(f"{variable}: there is no such section; {_hint(section, sorted(known))}")


def _problem(item: Any) -> str:
    location: tuple[str | int, ...] = item["loc"]
    place = _place(location)
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{place}: there is no such key; {_hint(str(location[-1]), sorted(_keys_at(location[:-1])))}"
    if kind == "missing":
        return f"{place}: must be given"
    if kind == "literal_error":
        return f"{place}: must be one of {context['expected'].replace(' or ', ', ')}"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"


def _place(location: tuple[str | int, ...]) -> str:
    names = [str(part) for part in location if isinstance(part, str)]
    if len(names) < 2:
        return f"[{names[0]}]" if names else "the settings"
    section = ".".join(names[:-1])
    return (
        f"[[{section}]] {names[-1]}" if any(isinstance(part, int) for part in location) else f"[{section}] {names[-1]}"
    )


def _keys_at(location: tuple[str | int, ...]) -> list[str]:
    model: Any = Settings
    for part in location:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    return _model_in(arguments[0]) if arguments else annotation


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else "known are " + ", ".join(known)
