"""What a site knows of its scanners: which block fits an image, what is taken from it, and what `sphero doctor` says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from db.header_views import FieldSourceView, InstanceHeaderView
from db.views import Acquisition
from flows.scanner_settings import ScannerSettings
from flows.scanners import Scanners


def source(calling_ae: str | None = None, **says: Any) -> FieldSourceView:
    header = InstanceHeaderView(study_uid="1.2", series_uid="1.3", rows=1, columns=1, frames=1, **says)
    return FieldSourceView("field", "instance", "1", "2", "3", 0, header, calling_ae)


SCANNERS = Scanners(
    [
        ScannerSettings(manufacturer="Example", model="S60", um_per_pixel=0.1),
        ScannerSettings(ae_title="SCANNER1", pixel_aspect=1.5),
        ScannerSettings(manufacturer="Example", stain="MGG"),
    ]
)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (source(manufacturer=" EXAMPLE", model="s60"), Acquisition(um_per_pixel=0.1, pixel_aspect=1.0)),
        (source("SCANNER1", um_per_pixel=0.3, pixel_aspect=1.1), Acquisition(um_per_pixel=0.3, pixel_aspect=1.5)),
        (source("OTHER", manufacturer="Example"), Acquisition(pixel_aspect=1.0, stain="MGG")),
        (source(manufacturer="Exampl", um_per_pixel=0.2), Acquisition(um_per_pixel=0.2, pixel_aspect=1.0)),
    ],
)
def test_the_first_block_that_fits_goes_before_the_image(one: FieldSourceView, expected: Acquisition) -> None:
    assert SCANNERS.of(one) == expected


def test_what_instances_do_not_agree_on_is_not_taken_and_what_was_said_stays() -> None:
    first, other = source("SCANNER1", um_per_pixel=0.1), source(manufacturer="Example", model="S60", um_per_pixel=0.3)
    assert SCANNERS.of_case([first, other], Acquisition()) == Acquisition(um_per_pixel=0.1)
    said = Acquisition(um_per_pixel=0.2, pixel_aspect=2.0, stain="Wright")
    assert SCANNERS.of_case([first], said) == Acquisition()
    assert SCANNERS.of_case([], Acquisition()) == Acquisition()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"um_per_pixel": 0.1}, "must be known by"),
        ({"model": "  ", "um_per_pixel": 0.1}, "must be known by"),
        ({"model": "S60"}, "must give"),
        ({"model": "S60", "folder": True, "stain": "MGG"}, "remove model"),
        ({"model": "S60", "um_per_pixel": 100}, "less than 5"),
    ],
)
def test_a_block_that_says_nothing_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ScannerSettings(**values)


def test_the_doctor_lists_them_and_tells_of_one_that_is_never_reached() -> None:
    hidden = ScannerSettings(manufacturer="Example", model="S60", serial="1", um_per_pixel=0.2)
    plain = ScannerSettings(folder=True, um_per_pixel=0.12)
    found = list(Scanners([ScannerSettings(manufacturer="example", stain="MGG"), hidden, plain]).checks())
    assert [check.state for check in found] == ["ok", "fail", "ok"]
    assert found[0].found == "manufacturer example: stain MGG"
    assert found[2].found == "plain images of the folder: 0.12 µm per pixel"
