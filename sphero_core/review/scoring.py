"""From two readings to figures: how they agree, what stands at each kind of place, and what count error and spherocyte figures become.

How many red cells a field holds
--------------------------------
The sum over its places. A judged place counts as its judgements say (half, where the readings differ); one that was not judged as the share of its
stratum, and as whole as the red cells were judged at which label and model say the same of the edge; and, for what neither labels nor model nor segmentation saw, the red cells without a dot: those of the field itself where it was looked
at as a whole, else the mean over the fields that were. Where every place of the disputed strata was judged, only the last term and what labels and model agree on
are estimated. The error of a field is then the model's count against this one.

Intervals
---------
95 %, by resampling fields, drawing one of the two readings for each tile, the shares of strata that were not judged in full from their
Jeffreys posterior, and the mean of cells without a dot from its gamma posterior. They cover chance and the disagreement of readings, not an
error that both readings share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.evaluation.bootstrap import interval_of
from sphero_core.interval import wilson_interval
from sphero_core.review.judgements import RED_CELLS, SPHEROCYTES, WHOLE, Judgement, Undotted
from sphero_core.review.places import CALLS, LABELLED_SPHEROCYTES, Stratum
from sphero_core.review.sampling import READINGS, Key, check_same_places

#: What is asked of each place, in the order of the columns below.
_QUESTIONS = (RED_CELLS, WHOLE, SPHEROCYTES)

Floats = NDArray[np.float64]


def score_review(
    key: Key,
    readings: Sequence[Sequence[Judgement]],
    undotted: Sequence[Sequence[Undotted]],
    *,
    more: Sequence[tuple[Key, Sequence[Sequence[Judgement]]]] = (),
    repetitions: int = 2000,
) -> dict[str, Any]:
    """All figures of a review, ready for JSON.

    Parameters
    ----------
    key : Key
    readings : two sequences of Judgement
        By tile.
    undotted : two sequences of Undotted
        By field picture of the first sample.
    more : sequence of key and readings
        Further samples of the same review.
    repetitions : int
        Draws behind each interval.

    Returns
    -------
    dict
        ``agreement`` of the readings; ``strata``, a row each; ``figures``, rows of name, value and interval; ``fields``, a row each.
    """
    check_same_places([key, *(other for other, _ in more)])
    said = {i: pair for sample in ((key, readings), *more) for i, pair in _by_place(*sample).items()}
    model = _Model(key, said, undotted)
    rng = np.random.default_rng([key.seed, 2])
    point = model.estimate(None)
    draws = [model.estimate(rng) for _ in range(repetitions)]
    n = len(key.fields)
    picks = [np.arange(n), *(rng.integers(0, n, n) for _ in draws)]
    figures = []
    for name, statistic in _FIGURES.items():
        value, *drawn = (statistic(fields[pick]) for fields, pick in zip([point, *draws], picks, strict=True))
        interval = interval_of(np.array(drawn))
        figures.append({"figure": name, "value": _rounded(value), "low": None, "high": None})
        if interval is not None:
            figures[-1] |= {"low": _rounded(interval[0]), "high": _rounded(interval[1])}
    return {
        "bundle": key.bundle,
        "tiles": len(said),
        "agreement": _agreements(said),
        "strata": [_stratum_row(key, said, stratum) for stratum in Stratum],
        "figures": figures,
        "fields": [_field_row(name, row) for name, row in zip(key.fields, point, strict=True)],
    }


def tile_rows(key: Key, readings: Sequence[Sequence[Judgement]]) -> list[dict[str, Any]]:
    """Each judged place with its numbers on the sheets of both readings and what was said: to look up what a figure rests on."""
    first, second = ({shown.index: n for n, shown in enumerate(tiles, start=1)} for tiles in key.tiles)
    return [
        {
            "reading_1": number,
            "reading_2": second[index],
            "field": key.places[index].field,
            "labels_and_model": str(key.places[index].stratum),
            "first": str(readings[0][number - 1]),
            "second": str(readings[1][second[index] - 1]),
        }
        for index, number in first.items()
    ]


def cohens_kappa(first: Sequence[object], second: Sequence[object]) -> float | None:
    """Cohen's kappa of two readings of the same tiles; None where chance alone would agree on all.

    Source: Cohen 1960, Educ. Psychol. Meas. 20:37-46.
    """
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    expected = sum(list(first).count(c) * list(second).count(c) for c in set(first)) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _by_place(key: Key, readings: Sequence[Sequence[Judgement]]) -> dict[int, tuple[Judgement, Judgement]]:
    """What both readings said, by the place's index."""
    first, second = (
        {shown.index: judgement for shown, judgement in zip(key.tiles[n - 1], readings[n - 1], strict=True)}
        for n in READINGS
    )
    return {index: (judgement, second[index]) for index, judgement in first.items()}


# Columns of the estimate of a field.
_FOUND, _FOUND_WHOLE, _LABELLED, _LABELLED_WHOLE, _TRUE, _TRUE_WHOLE = range(6)
_CALLED, _CALLED_TRUE, _LABELLED_S, _LABELLED_S_TRUE, _TRUE_S, _BOTH_S = range(6, 12)
_COLUMNS = 12


class _Model:
    """What a review says of each field, with or without chance."""

    def __init__(
        self, key: Key, said: dict[int, tuple[Judgement, Judgement]], undotted: Sequence[Sequence[Undotted]]
    ) -> None:
        places = key.places
        number = {name: index for index, name in enumerate(key.fields)}
        self._fields = len(key.fields)
        self._field = np.array([number[place.field] for place in places])
        strata = list(Stratum)
        self._stratum = np.array([strata.index(place.stratum) for place in places])
        self._edge = [(place.found_cut, place.labelled_cut) for place in places]
        self._judged = np.array(sorted(said), np.int64)
        self._answers = np.array(
            [[[judgement in wanted for wanted in _QUESTIONS] for judgement in said[index]] for index in self._judged],
            np.float64,
        )  # place, reading, question
        self._unjudged = np.setdiff1d(np.arange(len(places)), self._judged)
        found = np.array([place.found for place in places])
        found_cut = np.array([bool(place.found_cut) for place in places])
        labelled = np.array([place.labelled for place in places])
        labelled_cut = np.array([bool(place.labelled_cut) for place in places])
        self._called = np.array([place.stratum in CALLS for place in places], np.float64)
        self._labelled_s = np.array([place.stratum in LABELLED_SPHEROCYTES for place in places], np.float64)
        self._fixed = np.zeros((len(places), _COLUMNS))
        self._fixed[:, _FOUND], self._fixed[:, _FOUND_WHOLE] = found, found & ~found_cut
        self._fixed[:, _LABELLED], self._fixed[:, _LABELLED_WHOLE] = labelled, labelled & ~labelled_cut
        self._fixed[:, _CALLED], self._fixed[:, _LABELLED_S] = self._called, self._labelled_s
        self._fixed[:, _BOTH_S] = self._called * self._labelled_s
        self._seen = {
            shown.index: [
                dict(zip((s.index for s in key.whole_fields[n - 1]), undotted[n - 1], strict=True))[shown.index]
                for n in READINGS
            ]
            for shown in key.whole_fields[0]
        }

    def estimate(self, rng: np.random.Generator | None) -> Floats:
        """Each field's figures, shape (fields, columns): expected ones, or one draw."""
        weights = np.zeros((len(self._field), len(_QUESTIONS)))
        if rng is None:
            answers = self._answers.mean(axis=1)
        else:
            pick = rng.integers(0, len(READINGS), len(self._judged))
            answers = self._answers[np.arange(len(self._judged)), pick]
        weights[self._judged] = answers
        for stratum in np.unique(self._stratum[self._unjudged]):
            rest = self._unjudged[self._stratum[self._unjudged] == stratum]
            share = _shares(answers[self._stratum[self._judged] == stratum], rng)
            weights[rest, 0], weights[rest, 2] = share[0], share[2]
        whole = self._whole(answers, rng)
        weights[self._unjudged, 1] = weights[self._unjudged, 0] * [whole[self._edge[i]] for i in self._unjudged]
        columns = self._fixed.copy()
        columns[:, _TRUE], columns[:, _TRUE_WHOLE], columns[:, _TRUE_S] = weights.T
        columns[:, _CALLED_TRUE] = self._called * weights[:, 2]
        columns[:, _LABELLED_S_TRUE] = self._labelled_s * weights[:, 2]
        fields = np.zeros((self._fields, _COLUMNS))
        np.add.at(fields, self._field, columns)
        for column, count in ((_TRUE_WHOLE, lambda u: u.whole), (_TRUE, lambda u: u.whole + u.cut)):
            fields[:, column] += self._undotted(count, rng)
        return fields

    def _whole(self, answers: Floats, rng: np.random.Generator | None) -> dict[tuple[bool | None, bool | None], float]:
        """Share of red cells that are whole, by what model and label say of the edge; as the label says where none was judged."""
        shares = {}
        for edge in sorted(set(self._edge), key=str):
            judged = [row for row, index in enumerate(self._judged) if self._edge[index] == edge]
            red, whole = (float(answers[judged, question].sum()) for question in (0, 1))
            if red == 0:
                shares[edge] = float(not (edge[0] if edge[1] is None else edge[1]))
            else:
                shares[edge] = whole / red if rng is None else float(rng.beta(whole + 0.5, red - whole + 0.5))
        return shares

    def _undotted(self, count: Callable[[Undotted], int], rng: np.random.Generator | None) -> Floats:
        """Cells without a dot, by field."""
        seen = {index: np.array([count(u) for u in both], np.float64) for index, both in self._seen.items()}
        if rng is None:
            own = {index: float(both.mean()) for index, both in seen.items()}
            mean = float(np.mean(list(own.values())))
        else:
            own = {index: float(both[rng.integers(0, len(READINGS))]) for index, both in seen.items()}
            mean = float(rng.gamma(sum(own.values()) + 0.5) / len(own))
        return np.array([own.get(index, mean) for index in range(self._fields)])


def _shares(answers: Floats, rng: np.random.Generator | None) -> Floats:
    """Share of each question's yes; drawn from its Jeffreys posterior where chance is asked for."""
    n = len(answers)
    if n == 0:
        raise ValueError("a stratum has places but none was judged; draw at least one of each")
    yes = answers.sum(axis=0)
    return np.asarray(yes / n if rng is None else rng.beta(yes + 0.5, n - yes + 0.5), np.float64)


def _median_error(found: int, true: int) -> Callable[[Floats], float]:
    return lambda fields: float(np.median(np.abs(fields[:, found] - fields[:, true]) / np.maximum(fields[:, true], 1)))


def _pooled_excess(found: int, true: int) -> Callable[[Floats], float]:
    return lambda fields: float(fields[:, found].sum() / max(fields[:, true].sum(), 1) - 1)


def _ratio(part: int, *whole: int, times: float = 1.0) -> Callable[[Floats], float]:
    def ratio(fields: Floats) -> float:
        below = sum(float(fields[:, column].sum()) for column in whole)
        return times * float(fields[:, part].sum()) / below if below else float("nan")

    return ratio


def _percent_error(fields: Floats) -> float:
    found, true = (
        100 * fields[:, s].sum() / max(fields[:, n].sum(), 1) for s, n in ((_CALLED, _FOUND), (_TRUE_S, _TRUE))
    )
    return float(found - true)


_FIGURES: dict[str, Callable[[Floats], float]] = {
    "red cells, found": lambda fields: float(fields[:, _FOUND].sum()),
    "red cells, labelled": lambda fields: float(fields[:, _LABELLED].sum()),
    "red cells, reviewed": lambda fields: float(fields[:, _TRUE].sum()),
    "whole red cells, found": lambda fields: float(fields[:, _FOUND_WHOLE].sum()),
    "whole red cells, labelled": lambda fields: float(fields[:, _LABELLED_WHOLE].sum()),
    "whole red cells, reviewed": lambda fields: float(fields[:, _TRUE_WHOLE].sum()),
    "count error of a field (median), all cells, against labels": _median_error(_FOUND, _LABELLED),
    "count error of a field (median), all cells, against the review": _median_error(_FOUND, _TRUE),
    "count error of a field (median), whole cells, against labels": _median_error(_FOUND_WHOLE, _LABELLED_WHOLE),
    "count error of a field (median), whole cells, against the review": _median_error(_FOUND_WHOLE, _TRUE_WHOLE),
    "found too many, all cells, pooled": _pooled_excess(_FOUND, _TRUE),
    "found too many, whole cells, pooled": _pooled_excess(_FOUND_WHOLE, _TRUE_WHOLE),
    "spherocyte precision, against labels": _ratio(_BOTH_S, _CALLED),
    "spherocyte precision, against the review": _ratio(_CALLED_TRUE, _CALLED),
    "spherocyte recall, against labels": _ratio(_BOTH_S, _LABELLED_S),
    "spherocyte recall, against the review": _ratio(_CALLED_TRUE, _TRUE_S),
    "spherocyte F1, against labels": _ratio(_BOTH_S, _CALLED, _LABELLED_S, times=2),
    "spherocyte F1, against the review": _ratio(_CALLED_TRUE, _CALLED, _TRUE_S, times=2),
    "spherocyte labels that the review confirms": _ratio(_LABELLED_S_TRUE, _LABELLED_S),
    "spherocyte labels' F1 against the review": _ratio(_LABELLED_S_TRUE, _LABELLED_S, _TRUE_S, times=2),
    "spherocyte percentage, model less review, in points": _percent_error,
}


def _agreements(said: dict[int, tuple[Judgement, Judgement]]) -> dict[str, Any]:
    pairs = list(said.values())
    asked: dict[str, Callable[[Judgement], object]] = {
        "every word": lambda judgement: judgement,
        "red cell or not": lambda judgement: judgement in RED_CELLS,
        "whole red cell or not": lambda judgement: judgement in WHOLE,
        "spherocyte or not": lambda judgement: judgement in SPHEROCYTES,
    }
    rows = {}
    for name, answer in asked.items():
        first, second = [answer(a) for a, _ in pairs], [answer(b) for _, b in pairs]
        same = sum(a == b for a, b in zip(first, second, strict=True))
        kappa = cohens_kappa(first, second)
        rows[name] = {"tiles": len(pairs), "share": same / len(pairs), "kappa": kappa}
    return rows


def _stratum_row(key: Key, said: dict[int, tuple[Judgement, Judgement]], stratum: Stratum) -> dict[str, Any]:
    """How many of a stratum were judged what, mean of both readings, and the interval of the share that is a red cell and a spherocyte."""
    pairs = [said[index] for index, place in enumerate(key.places) if place.stratum is stratum and index in said]
    row: dict[str, Any] = {
        "what labels and model say": str(stratum),
        "places": sum(place.stratum is stratum for place in key.places),
        "judged": len(pairs),
    }
    both = [judgement for pair in pairs for judgement in pair]
    groups = {
        "whole": WHOLE - SPHEROCYTES,
        "cut": RED_CELLS - WHOLE - SPHEROCYTES,
        "spherocyte": SPHEROCYTES,
        "other": {Judgement.PLATELET, Judgement.WHITE, Judgement.OTHER},
        "part": {Judgement.PART},
        "nothing": {Judgement.NOTHING},
    }
    row |= {name: sum(judgement in words for judgement in both) / 2 for name, words in groups.items()}
    for name, words in (("red %", RED_CELLS), ("spherocyte %", SPHEROCYTES)):
        row[name] = _share_text(sum(judgement in words for judgement in both) / 2, len(pairs))
    return row


def _share_text(yes: float, n: int) -> str | None:
    """A share in percent with Wilson's interval."""
    if not n:
        return None
    low, high = wilson_interval(yes, n)
    return f"{100 * yes / n:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def _field_row(name: str, row: Floats) -> dict[str, Any]:
    shown = {
        "found": _FOUND,
        "labelled": _LABELLED,
        "reviewed": _TRUE,
        "found_whole": _FOUND_WHOLE,
        "labelled_whole": _LABELLED_WHOLE,
        "reviewed_whole": _TRUE_WHOLE,
    }
    return {"field": name, **{column: round(float(row[index]), 2) for column, index in shown.items()}}


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
