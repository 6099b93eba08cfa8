"""`sphero case`: wrong usage is told before anything is opened; the worklist's ages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from flows.cli.worklist import age_of

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("relabel", "26-1", "17", "RBC"), "3.17"),
        (("relabel", "26-1", "3.17", "Blast"), "classes are RBC, Spherocyte, Platelet, WBC"),
        (("reject", "26-1", "--reason", "  "), "must say something"),
        (("reject", "26-1"), "--reason"),
        (("export", "26-1", "--out", "x", "--what", "pictures"), "must be one of all, cells, report"),
        (("list", "--state", "lost"), "states are open"),
        (("list", "--older", "soon"), "such as 30m"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(app, ["case", *words])
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("seconds", "age"), [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86_400 * 3, "3 d")]
)
def test_ages(seconds: float, age: str) -> None:
    assert age_of(NOW, NOW - timedelta(seconds=seconds)) == age
