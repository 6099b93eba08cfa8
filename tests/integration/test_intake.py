"""Intake and completion on a real folder and a real database, without Prefect; time is the test's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db.session import Database
from db.states import CaseState, HoldReason
from flows.intake import Intake
from tests.folder_site import QUIET, Site
from tests.running import manifest, picture
from tests.unit.image_files import tiff

RGB = 2  # photometric interpretation of TIFF


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_case_completes_with_its_expected_fields_and_not_before(site: Site) -> None:
    site.put("A1", "1.png", picture(1))
    site.tell("A1", manifest("P1", 2, um_per_pixel=0.1, pixel_aspect=1.3333))
    assert site.look()[1] == ()
    assert site.case("A1").state is CaseState.OPEN
    site.put("A1", "2.png", picture(2))
    _, completed = site.look()
    case = site.case("A1")
    assert (completed, case.state, case.fields) == ((case.case_id,), CaseState.COMPLETE, 2)
    assert (case.acquisition.um_per_pixel, case.acquisition.pixel_aspect) == (0.1, 1.3333)
    assert sorted(path.name for path in (site.root / "incoming" / ".done" / "A1").iterdir()) == [
        "1.png",
        "2.png",
        "case.json",
    ]


def test_a_case_completes_when_nothing_came_for_the_quiet_time(site: Site) -> None:
    site.put("A1", "1.png", picture(1))
    site.tell("A1", manifest("P1"))
    site.look()
    site.wait(QUIET - 1)
    site.put("A1", "2.png", picture(2))
    assert site.look()[1] == ()
    site.wait(QUIET - 1)
    assert site.look()[1] == ()
    site.wait(1)
    assert len(site.look()[1]) == 1


def test_what_came_is_known_when_it_comes_again(site: Site) -> None:
    site.put("A1", "1.png", picture(1))
    site.look()
    site.put("A1", "copy.png", picture(1))
    (taken,), _ = site.look()
    assert (taken.fields, taken.known) == (0, 1)
    assert site.case("A1").fields == 1


def test_the_same_picture_under_another_accession_holds_that_case(site: Site) -> None:
    for accession in ("A1", "A2"):
        site.put(accession, "1.png", picture(1))
        site.tell(accession, manifest(f"P{accession}", 1))
        site.look()
    assert site.case("A1").state is CaseState.COMPLETE
    assert site.case("A2").hold_reasons == (HoldReason.CONFLICT,)


def test_pages_of_a_tiff_are_fields(site: Site) -> None:
    pages: list[NDArray[Any]] = [np.full((40, 50, 3), value, np.uint8) for value in (90, 150, 210)]
    site.put("A1", "pages.tif", tiff(pages, RGB))
    (taken,), _ = site.look()
    assert taken.fields == 3


def test_without_a_patient_the_case_is_held_until_a_manifest_names_one(site: Site) -> None:
    site.put("A1", "1.png", picture(1))
    site.look()
    site.wait(QUIET)
    assert site.look()[1] == ()
    assert site.case("A1").hold_reasons == (HoldReason.NO_PATIENT,)
    site.tell("A1", {"patient": {"id": "P1"}})
    site.look()
    assert site.case("A1").hold_reasons == (HoldReason.NO_PATIENT,), "an id without its issuer names nobody"
    site.tell("A1", {"patient": {"id": "P1", "issuer": "HOSP"}})
    site.look()
    site.look()
    assert site.case("A1").state is CaseState.COMPLETE


def test_a_manifest_that_cannot_be_used_is_put_aside_with_its_reason(site: Site) -> None:
    site.put("A1", "1.png", picture(1))
    site.tell("A1", {"patientt": {"id": "P1"}})
    site.look()
    site.wait(QUIET)
    site.look()
    with site.database.reading() as work:
        (refused,) = work.fields.quarantined_files(site.case("A1").case_id)
    assert 'unknown key "patientt"' in refused.reason
    site.wait(QUIET)
    site.look()
    assert site.case("A1").hold_reasons == (HoldReason.NO_PATIENT,)


def test_a_manifest_that_names_another_patient_holds_the_case(site: Site) -> None:
    site.put("A1", "1.png", picture(1))
    site.tell("A1", manifest("P1", 1))
    site.look()
    site.tell("A1", manifest("P2", 1))
    site.look()
    assert site.case("A1").hold_reasons == (HoldReason.CONFLICT,)


def test_times_without_offset_are_of_the_site(site: Site) -> None:
    site.put("A1", "1.png", picture(1))
    site.tell("A1", manifest("P1", 1, collected="2026-07-01T08:30:00", accession="26-1"))
    site.look()
    with site.database.reading() as work:
        identity = work.identities.get(site.case("A1").case_id)
    assert identity.collected == datetime(2026, 7, 1, 6, 30, tzinfo=UTC)
    assert identity.accession == "26-1"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jpg", b"text", "JPEG, PNG or TIFF"),
        ("a.png", b"", "empty"),
        ("a.jpg", b"\xff\xd8\xff\xe0", ""),
    ],
)
def test_refused_files_are_kept_with_a_reason(site: Site, name: str, content: bytes, reason: str) -> None:
    site.put("A1", name, content)
    (taken,), _ = site.look()
    assert len(taken.refused) == 1
    assert reason.casefold() in taken.refused[0].casefold()
    (folder,) = [path for path in (site.root / "quarantine").iterdir() if path.name != ".partial"]
    assert (folder / "original").read_bytes() == content
    assert not (site.root / "incoming" / "A1" / name).exists()


@pytest.mark.parametrize("after", ["copy", "row"])
def test_a_step_that_was_interrupted_is_repeated_with_the_same_effect(
    site: Site, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    site.put("A1", "1.png", picture(1))
    interrupted: list[Callable[..., Any]] = []

    def dies(*_: object, **__: object) -> None:
        interrupted.append(dies)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Database if after == "copy" else Intake, "transaction" if after == "copy" else "_clear", dies)
        with pytest.raises(KeyboardInterrupt):
            site.look()
    (taken,), _ = site.look()
    assert interrupted
    assert (taken.fields, taken.known) == ((1, 0) if after == "copy" else (0, 1))
    assert site.case("A1").fields == 1
    assert len(list((site.root / "store").glob("??/*"))) == 1
