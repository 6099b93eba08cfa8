"""Dashboard and alert rules name measures and labels that are there, and runbooks that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from db.session import Database
from db.states import CaseState
from flows.disk import DiskGuard
from flows.metrics import Machine, Metrics
from flows.watch_settings import WatchSettings
from tests.database_examples import ManualClock, enqueue, to_state
from tests.folder_site import Site
from tests.unit.test_docs import ROOT

MONITORING = ROOT / "deploy" / "monitoring"
RUNBOOKS = ROOT / "deploy" / "docs" / "runbooks"
DOCUMENT = ROOT / "deploy" / "docs" / "monitoring.md"

FUNCTIONS = {"absent", "abs", "increase", "rate", "histogram_quantile", "max", "min", "sum"}
WORDS = {"by", "without", "and", "or", "unless"}
GIVEN = {"instance", "job"}
"""Labels that Prometheus itself adds."""
TOKEN = re.compile(
    r'(?P<text>"[^"]*")|(?P<range>\[\d+[smhd]\])|(?P<number>\d+(\.\d+)?)|(?P<name>[a-z_]\w*)|(?P<sign>[(){},]|!=|==|=~|[<>=*/+-])|\s+'
)


@pytest.fixture(scope="module")
def measures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every sample that a service tells that has seen everything once, with its labels."""
    folder = tmp_path_factory.mktemp("site")
    Site(folder).database.close()
    machine = Machine(lambda: {"model": None}, lambda: {"model": 1}, lambda: {"dicom": 1})
    clock = ManualClock()
    with Database(f"sqlite:///{folder / 'sphero.db'}", clock) as database:
        guard = DiskGuard({"images": folder}, 0)
        metrics = Metrics(database, guard, machine, WatchSettings(drift_cases=5, baseline_cases=5), clock=clock)
        metrics.scrape()
        with database.transaction("test") as work:
            for number in range(10):
                enqueue(work, to_state(work, CaseState.REPORTED, f"case {number}", f"field {number}"))
            (message,) = work.outbox.claim_due("LIS", "me", 60, most=1)
            work.outbox.delivered(message.message_id, "me", ack_code="AA", ack=b"", seconds=0.1)
        metrics._asked_at = float("-inf")
        families = list(text_string_to_metric_families(metrics.scrape().decode()))
    found: dict[str, set[str]] = {"up": set()}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def panels() -> list[dict[str, Any]]:
    return list(json.loads((MONITORING / "grafana.json").read_text())["panels"])


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def expressions() -> Iterator[str]:
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    yield from (rule["expr"] for rule in rules())


def problems(expression: str, measures: dict[str, set[str]]) -> list[str]:
    """What is wrong with an expression of Prometheus: unknown names, labels that are not there, brackets that do not close."""
    found, at, open_brackets = [], 0, []
    names: list[tuple[str, str]] = []  # name, and what stands before it
    before = ""
    while at < len(expression):
        token = TOKEN.match(expression, at)
        if token is None:
            return [f"cannot be read from {expression[at : at + 20]!r}"]
        at = token.end()
        text = token.group().strip()
        if text in ("(", "{"):
            open_brackets.append((text, before))
        elif text in (")", "}"):
            if not open_brackets or open_brackets.pop()[0] + text not in ("()", "{}"):
                return ["its brackets do not match"]
        elif token["name"]:
            inside, owner = open_brackets[-1] if open_brackets else ("", "")
            is_label = inside == "{" or owner in ("by", "without")
            names.append((text, "label" if is_label else "name"))
        before = text or before
    if open_brackets:
        found.append("a bracket is not closed")
    used = {name for name, kind in names if kind == "name"}
    known = measures.keys() | FUNCTIONS | WORDS
    found += [f"{name} is told by nobody" for name in sorted(used - known)]
    labels = set().union(GIVEN, *(measures[name] for name in used & measures.keys()))
    found += [
        f"no measure of it has the label {name}" for name, kind in names if kind == "label" and name not in labels
    ]
    return found


@pytest.mark.parametrize(
    "wrong",
    ["sum(sphero_nothing)", 'sphero_cases{colour="red"}', "max by (state) (sphero_cases", "rate(sphero_cases[5x])", "sphero_cases)"],
)  # fmt: skip
def test_a_wrong_expression_is_found(wrong: str, measures: dict[str, set[str]]) -> None:
    assert problems(wrong, measures)


def test_every_expression_names_what_is_told(measures: dict[str, set[str]]) -> None:
    assert {each: wrong for each in expressions() if (wrong := problems(each, measures))} == {}
    assert len(list(expressions())) > 30


def test_every_measure_is_shown_and_documented(measures: dict[str, set[str]]) -> None:
    """What is told is looked at by somebody, or it need not be told."""
    shown, text = " ".join(expressions()), DOCUMENT.read_text()
    ours = [name for name in measures if name.startswith("sphero_") and not name.endswith("_created")]
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours}
    assert {name for name in families if name not in shown} == set()
    assert {name for name in families if f"`{name}`" not in text} == set()


def test_rules_are_complete_and_their_runbooks_exist() -> None:
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert (RUNBOOKS / rule["annotations"]["runbook"]).is_file(), rule["alert"]
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_rules_have_no_personal_data_to_show(measures: dict[str, set[str]]) -> None:
    labels = set().union(*(found for name, found in measures.items() if name.startswith("sphero_")))
    assert labels == {
        "state", "reason", "destination", "outcome", "window", "folder", "part", "listener", "version", "le"
    }  # fmt: skip


def test_the_scrape_configuration_names_the_rules() -> None:
    scrape = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    assert all((MONITORING / name).is_file() for name in scrape["rule_files"])
    assert [job["job_name"] for job in scrape["scrape_configs"]] == ["spheroflow"]


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
