"""What may stand in a log: our own texts, and of foreign exceptions only their type and place."""

from __future__ import annotations

import json
import logging

import pytest

from db.errors import DatabaseBusy
from flows.log import set_up_logging, tell

PERSON = "Mueller^Zoe"


def test_our_own_errors_are_told_in_their_words() -> None:
    assert tell(DatabaseBusy("run it again")) == "run it again"


def test_of_a_foreign_exception_only_type_and_place_are_told() -> None:
    try:
        raise ValueError(PERSON)  # noqa: TRY301  # raised here so that this file is the place that is told
    except ValueError as error:
        told = tell(error)
    assert told.startswith("unexpected ValueError in test_log.py:")
    assert PERSON not in told


@pytest.mark.parametrize("as_json", [True, False])
def test_a_line_carries_what_it_is_about(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    logger = logging.getLogger("flows")
    before = (list(logger.handlers), logger.level, logger.propagate)
    try:
        set_up_logging(as_json=as_json)
        logging.getLogger("flows.test").warning("case %s", "held", extra={"case": "01a2"})
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
    line = capsys.readouterr().err.strip()
    if as_json:
        written = json.loads(line)
        assert (written["level"], written["message"], written["case"]) == ("warning", "case held", "01a2")
    else:
        assert line.endswith("warning: case held case=01a2")
