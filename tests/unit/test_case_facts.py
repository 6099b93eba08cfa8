"""The numbers behind a finding are told wherever it is: in the report, on the command line and in messages."""

from __future__ import annotations

from dataclasses import replace

from integrations.hl7.message import build_message
from integrations.hl7.profile import Profile
from integrations.hl7.sample import UNVERIFIED
from sphero_core.case_facts import case_facts, seen_beside
from sphero_core.report.content import ReportContent
from sphero_core.types import CaseCounts, CaseStatistics

STATISTICS = CaseStatistics(
    platelets=12,
    wbc=1,
    microcytes=46,
    microcyte_um=6.0,
    um_per_pixel=0.1,
    border_cells=158,
    overlapping_cells=184,
    refused_fields=1,
    saturated_fields=0,
    design_effect=1.62,
    effective_cells=1137.0,
    field_cells=(600, 0, 620, 622),
    field_spherocytes=(20, 0, 20, 22),
    outlier_fields=(4,),
)
COUNTS = CaseCounts(1842, 62, 3.366, (2.63, 4.29), 3, statistics=STATISTICS)
TOLD = (
    ("Red cells counted", "1842, adequate (from 1,000)"),
    ("Microcytes (below 6 um)", "2.5 %"),
    ("Platelets, white cells seen", "12, 1"),
    ("Red cells cut by an edge", "158 (8 %), not counted"),
    ("Touching or overlapping", "10 % of the red cells"),
    ("Spread between fields", "design effect 1.6"),
    ("Fields that do not fit", "4"),
)


def test_every_number_behind_the_finding_is_told() -> None:
    assert case_facts(COUNTS) == TOLD
    content = ReportContent("Haematology", "Preliminary", False, "1", "today", (), COUNTS)
    assert set(TOLD) <= set(content.figures)


def test_too_few_cells_are_limited_and_no_scale_gives_no_microcytes() -> None:
    few = replace(COUNTS, red_cells=999, statistics=replace(STATISTICS, microcytes=None, um_per_pixel=None))
    facts = dict(case_facts(few))
    assert facts["Red cells counted"] == "999, limited (from 1,000)"
    assert not any("Microcytes" in name for name in facts)
    assert not any("Microcytes" in said for said in seen_beside(few))


def test_a_version_without_statistics_tells_none() -> None:
    earlier = replace(COUNTS, statistics=None)
    assert case_facts(earlier) == ()
    assert seen_beside(earlier) == ()


def test_messages_tell_what_was_seen_beside_spherocytes() -> None:
    body = build_message(replace(UNVERIFIED, counts=COUNTS), Profile(), "lis").body.decode()
    assert "|Microcytes (below 6 um): 46 of 1842 red cells (2.5 %).\r" in body
    assert "|Seen in the same fields: 12 platelets, 1 white cell; these are no concentrations.\r" in body
