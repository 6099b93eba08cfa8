"""`sphero doctor` names each thing that a runbook is about, nothing else, and what to do; see `tests.runbooks`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.checks import checks
from flows.config import load_settings
from flows.errors import SettingsError
from tests.runbooks import Line, failing, laboratory, walk
from tests.unit.test_docs import ROOT

RUNBOOKS = ROOT / "deploy" / "docs" / "runbooks"


def test_doctor_names_what_is_broken_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doctor(file: Path, environment: Mapping[str, str]) -> dict[str, Line]:
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            try:
                settings = load_settings(file)
            except SettingsError as error:
                return {"settings": ("fail", str(error), "correct sphero.toml or the environment")}
            return {check.name: (check.state, check.found, check.remedy) for check in checks(settings)}

    with laboratory(tmp_path) as lab:
        assert failing(doctor(lab.file, {})) == set()
        for fault, said, _ in walk(lab, doctor):
            assert failing(said) == set(fault.lines), (fault.name, said)
            assert all(fault.remedy in said[name][2] for name in fault.lines), (fault.name, said)
            assert (RUNBOOKS / fault.runbook).is_file()
