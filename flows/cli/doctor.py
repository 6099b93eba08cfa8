"""`sphero doctor`: what is well and what is not, with a remedy."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from flows.cli.output import AsJson, print_json

if TYPE_CHECKING:
    from flows.findings import Check


def doctor(as_json: AsJson = False) -> None:
    """Check settings, model bundle, disk, folders, database, Prefect, LIS and DICOM systems; exit code 1 where something is wrong."""
    from flows.checks import checks
    from flows.config import load_settings
    from flows.errors import SettingsError
    from flows.findings import Check
    from flows.log import tell

    try:
        settings = load_settings()
    except SettingsError as error:
        found = [Check("settings", "fail", tell(error), "correct sphero.toml or the environment")]
        _show(found[0], quiet=as_json)
    else:
        found = [Check("settings", "ok", "can be read")]
        _show(found[0], quiet=as_json)
        for check in checks(settings):
            found.append(check)
            _show(check, quiet=as_json)
    if as_json:
        print_json([asdict(check) for check in found])
    if any(check.state == "fail" for check in found):
        raise SystemExit(1)


def _show(check: Check, *, quiet: bool) -> None:
    if quiet:
        return
    remedy = f" -> {check.remedy}" if check.remedy else ""
    print(f"{check.state:4}  {check.name:16}  {check.found}{remedy}", flush=True)
