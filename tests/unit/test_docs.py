"""What the documentation promises is there: commands, options, make targets, settings, files; and nothing is left out."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli.app import app
from flows.config import check_settings
from flows.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "deploy").rglob("*.md"))]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
FILE = re.compile(r"\.?[\w-]+(/[\w.-]+)+/?|\w[\w-]*\.(md|toml|txt|json)|Makefile|LICENSE")
FIGURE = re.compile(r"\d[\d,.]* ?(%|ms\b|s\b|MiB\b|GiB\b|GB\b)|\bAP50\b.*\d|\bF1\b.*\d")
COMMAND = re.compile(r"\b(make \w+|sphero \w+|pytest|pip install|git )")

# Files that a run writes, that belong to the user or that lie in an installed package.
WRITTEN = {
    "sphero.toml",
    "lis.toml",
    "case.json",
    "summary.json",
    "cells.csv",
    "coco.json",
    "truth.coco.json",
    "bundle.json",
    "annotations.json",
    "masks.json",
}
WRITTEN |= {"LICENSE-3RD-PARTY.txt", "0001-what-was-decided.md"}
OUTSIDE = ("incoming/", "smears/", "results/", "runs/", "inner-", ".venv/", "../", "/")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command that does something, by its words after ``sphero``; Typer brings its own click."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def code(text: str) -> Iterator[str]:
    """Give every line of shell blocks and every code span."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from block.splitlines()
    yield from SPAN.findall(FENCE.sub("", text))


def invocations(text: str, program: str) -> Iterator[list[str]]:
    """Give the words of every line that calls `program`, comments left out."""
    for line in code(text):
        if line.startswith(f"{program} ") and "<" not in line and "|" not in line:
            yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_every_command_and_option_named_exists(document: Path) -> None:
    wrong = []
    for words in invocations(document.read_text(), "sphero"):
        path = next((tuple(words[:n]) for n in (3, 2, 1) if tuple(words[:n]) in COMMANDS), None)
        group = any(known[: len(words)] == tuple(words) for known in COMMANDS)
        if path is None:
            wrong += [] if group else [" ".join(words)]
            continue
        known = {
            option for parameter in COMMANDS[path].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        wrong += [
            f"{' '.join(path)} {word}" for word in words if word.startswith("--") and word not in {*known, "--help"}
        ]
    assert wrong == []


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text()
    assert [" ".join(path) for path in COMMANDS if not re.search(rf"sphero {' '.join(path)}\b", text)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_every_make_target_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[0] for words in invocations(document.read_text(), "make")}
    assert {name for name in named if not name.startswith(".")} <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_settings_shown_are_settings_accepted(document: Path, tmp_path: Path) -> None:
    text = document.read_text()
    for language, block in FENCE.findall(text):
        if language == "toml":
            check_settings(tomllib.loads(block), tmp_path)
    for span in SPAN.findall(FENCE.sub("", text)):
        if found := re.fullmatch(r"\[(\w+)\](?: (\w+)(?: = (.+))?)?", span):
            section, key, value = found.groups()
            assert section in Settings.model_fields, span
            if value is not None:
                check_settings(tomllib.loads(f"[{section}]\n{key} = {value}"), tmp_path)
            elif key is not None:
                check_settings({section: {key: getattr(getattr(Settings(), section), key)}}, tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_every_file_named_exists(document: Path) -> None:
    text = document.read_text()
    missing = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    for span in SPAN.findall(FENCE.sub("", text)):
        if not FILE.fullmatch(span) or span in WRITTEN or span.startswith(OUTSIDE):
            continue
        if not (ROOT / span).exists() and not (document.parent / span).exists():
            missing.append(span)
    assert missing == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "deploy" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_every_figure_of_the_readme_stands_with_the_command_that_gives_it() -> None:
    """A section that tells a measured figure must hold a command."""
    for section in re.split(r"^(?=## )", README.read_text(), flags=re.MULTILINE):
        if FIGURE.search(section):
            assert any(COMMAND.search(line) for line in code(section)), f"no command beside the figures of:\n{section}"
