"""A part of what `python -m tests.hl7_texts` does in full; and that its own checks can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integrations.hl7 import escape
from integrations.hl7.profile import Profile
from integrations.hl7.profile_file import shipped_profiles
from integrations.hl7.result import ResultStatus
from tests import hl7_texts
from tests.hl7_texts import Failed, hostile_message, try_messages, try_texts


def test_hostile_texts_come_back_and_never_move_a_segment() -> None:
    figures = try_texts(800, seed=1)
    assert figures["texts"] == 800
    assert min(figures["came back"], figures["refused, the field named"]) > 50


def test_messages_with_every_text_hostile_come_back_field_by_field() -> None:
    every = len(shipped_profiles()) * len(ResultStatus)
    figures = try_messages(every, seed=2)
    assert figures["messages"] == every
    assert figures["fields read back"] > every * 30
    assert figures["spoilt by a control character, refused, the field named"] > 10


def test_every_free_text_is_hostile() -> None:
    texts = {name: f"<{name}>" for name in hl7_texts.TEXT_FIELDS}
    for status in ResultStatus:
        shown = repr(hostile_message(texts, Profile(), status)[1])
        assert all(f"<{name}>" in shown for name in ("sender", "equipment", "panel", "code", "unit", "profile_id"))


# hl7apy itself escapes the field separator and the repetition separator.
@pytest.mark.parametrize("forgotten", ["\\", "^", "&"])
def test_a_separator_that_is_not_escaped_is_noticed(monkeypatch: pytest.MonkeyPatch, forgotten: str) -> None:
    table = {code: sequence for code, sequence in escape._TO_ESCAPED.items() if code != ord(forgotten)}
    monkeypatch.setattr(escape, "_TO_ESCAPED", table)
    with pytest.raises((Failed, IndexError, KeyError)):
        try_texts(400, seed=3)


def test_a_line_break_that_is_not_split_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escape, "_checked", lambda line, field, charset: line)  # noqa: ARG005
    with pytest.raises(Failed, match="let through"):
        try_texts(400, seed=4)


def test_the_figures_are_written_down(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert hl7_texts.main(["--texts", "20", "--messages", "1", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert (figures["escaping layer"]["texts"], figures["whole messages"]["messages"], figures["failures"]) == (
        20,
        1,
        0,
    )
