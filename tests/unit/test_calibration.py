"""Calibrations: what they make of probabilities whose truth is known, and that a bundle keeps them exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sphero_core.calibration import FITS, Calibration, brier, fit_isotonic, fit_platt, log_odds


def overconfident(n: int, *, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """True probabilities, the same with doubled log odds less one, and what happened."""
    rng = np.random.default_rng(seed)
    true = 1 / (1 + np.exp(-rng.normal(-1, 1.2, n)))
    given = 1 / (1 + np.exp(-(2 * log_odds(true) - 1)))
    return true, given, rng.random(n) < true


@pytest.mark.parametrize("kind", FITS)
def test_an_overconfident_score_is_brought_back(kind: str) -> None:
    true, given, happened = overconfident(20_000)
    calibrated = FITS[kind](given, happened)(given)
    assert np.abs(calibrated - true).mean() < 0.02 < np.abs(given - true).mean()
    assert brier(calibrated, happened) < brier(given, happened)


def test_platt_recovers_its_line() -> None:
    _, given, happened = overconfident(50_000)
    fitted = fit_platt(given, happened)
    slope = (fitted.y[1] - fitted.y[0]) / (fitted.x[1] - fitted.x[0])
    assert slope == pytest.approx(0.5, abs=0.03)
    assert (fitted.y[0] + fitted.y[1]) / 2 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", FITS)
def test_it_never_turns_an_order_round(kind: str) -> None:
    rng = np.random.default_rng(3)
    given = rng.random(200)
    fitted = FITS[kind](given, rng.random(200) < 1 - given)  # scores that are worth the reverse of what they say
    line = fitted(np.linspace(0, 1, 101, dtype=np.float64))
    assert np.all(np.diff(line) >= 0)
    assert np.all((line > 0) & (line < 1))


def test_isotonic_has_the_means_of_its_blocks() -> None:
    given = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    fitted = fit_isotonic(given, np.array([False, True, False, True, True, True]))
    assert fitted(np.array([0.01]))[0] == pytest.approx(0.002)
    middle = np.array([1 / (1 + np.exp(-fitted.x[1]))], np.float64)
    assert fitted(middle)[0] == pytest.approx(0.5)
    assert fitted(np.array([0.99]))[0] == pytest.approx(0.998)


@pytest.mark.parametrize("kind", FITS)
def test_one_class_alone_is_fitted_too(kind: str) -> None:
    line = FITS[kind](np.array([0.2, 0.4]), np.array([False, False]))(np.array([0.0, 0.5, 1.0]))
    assert np.all(np.isfinite(line))
    assert line.max() < 0.5


def test_a_bundle_keeps_it_exactly() -> None:
    _, given, happened = overconfident(300)
    for fit in FITS.values():
        fitted = fit(given, happened)
        assert Calibration.from_mapping(fitted.as_mapping()) == fitted


def test_knots_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="increasing"):
        Calibration.from_mapping({"kind": "isotonic", "x": [0.0, 1.0], "y": [1.0, 0.0]})


def test_brier_of_nothing_is_no_number() -> None:
    assert np.isnan(brier(np.empty(0), np.empty(0, bool)))
    assert brier(np.array([1.0, 0.0]), np.array([True, True])) == 0.5
