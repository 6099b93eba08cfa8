"""A blind review of drawn smears, whose truth is known: what is asked, what is shown, and what follows from the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sphero_core.datasets.coco import LabelledImage
from sphero_core.errors import DatasetError
from sphero_core.evaluation.matching import box_iou
from sphero_core.review.judgements import (
    LETTERS,
    MEANINGS,
    Judgement,
    Undotted,
    read_judgements,
    read_undotted,
    write_empty,
)
from sphero_core.review.places import SAME_PLACE_IOU, Place, Stratum, places_of_field
from sphero_core.review.sampling import Key, Shown, Size, draw_key, draw_more, read_key, write_key
from sphero_core.review.scoring import cohens_kappa, score_review, tile_rows
from sphero_core.review.sheets import Layout, draw_field, draw_sheet, draw_tile, turned
from sphero_core.synthetic import SyntheticField, draw_smear, random_style
from sphero_core.types import Cell, CellClass

DIAMETER = 50.0
AS_IT_IS = Shown(0, 0, mirrored=False)


def smear(seed: int) -> SyntheticField:
    rng = np.random.default_rng(seed)
    size = {
        "width": 480,
        "height": 360,
        "cell_diameter_px": DIAMETER,
        "overlap": 0.0,
        "ghosts": 0,
        "spherocyte_share": 0.25,
    }
    return draw_smear(random_style(rng, **size), rng)


def red(field: SyntheticField) -> list[Cell]:
    return [cell for cell in field.cells if cell.cell_class.is_red_cell]


def label(name: str, cells: Sequence[Cell], classes: Sequence[CellClass] = ()) -> LabelledImage:
    boxes = np.array([cell.box for cell in cells], np.float64).reshape(-1, 4)
    classes = classes or [cell.cell_class for cell in cells]
    return LabelledImage(Path(name), name, "", 480, 360, boxes, tuple(classes), ((),) * len(cells))


def asked(field: SyntheticField, labelled: LabelledImage, found: Sequence[Cell]) -> list[Place]:
    return places_of_field(labelled, field.image, found, DIAMETER, 2.0, np.random.default_rng(1))


def true_cell(field: SyntheticField, place: Place) -> Cell | None:
    cells = red(field)
    overlap = box_iou(np.array([place.box], np.float64), np.array([cell.box for cell in cells], np.float64))[0]
    return cells[int(overlap.argmax())] if overlap.max() >= SAME_PLACE_IOU else None


def judge(field: SyntheticField, place: Place) -> Judgement:
    """One who knows the truth."""
    cell = true_cell(field, place)
    if cell is None:
        return Judgement.NOTHING if place.stratum is Stratum.CLEAR else Judgement.OTHER
    if cell.cell_class is CellClass.SPHEROCYTE:
        return Judgement.EDGE_SPHEROCYTE if cell.touches_border else Judgement.SPHEROCYTE
    return Judgement.EDGE if cell.touches_border else Judgement.RED


def other_class(cell: Cell) -> Cell:
    swapped = CellClass.RBC if cell.cell_class is CellClass.SPHEROCYTE else CellClass.SPHEROCYTE
    return replace(cell, cell_class=swapped)


def ghost(cell: Cell, x: int, y: int) -> Cell:
    """A detection where no cell is."""
    return replace(cell, cell_class=CellClass.RBC, x=x, y=y, touches_border=False)


@pytest.fixture(scope="module")
def field() -> SyntheticField:
    drawn = smear(3)
    assert len(red(drawn)) > 20
    return drawn


@pytest.fixture(scope="module")
def reviewed(field: SyntheticField) -> tuple[Key, list[Judgement], list[Judgement], int]:
    """Two fields: the first as below, the second as labelled and found without a fault."""
    cells = red(field)
    labelled, found = label("first.png", cells[:-3]), [*map(other_class, cells[:2]), *cells[3:]]
    other = label("second.png", cells)
    places = [*asked(field, labelled, found), *asked(field, other, cells)]
    key = draw_key(places, ["first.png", "second.png"], [DIAMETER] * 2, "test 1", Size(5, 100, 2, 1), seed=4)
    readings = [[judge(field, key.places[shown.index]) for shown in tiles] for tiles in key.tiles]
    return key, readings[0], readings[1], len(cells)


def test_every_place_is_in_the_stratum_that_labels_and_model_give_it(field: SyntheticField) -> None:
    cells = red(field)
    spherocytes = [cell for cell in cells if cell.cell_class is CellClass.SPHEROCYTE]
    plain = [cell for cell in cells if cell.cell_class is CellClass.RBC and not cell.touches_border]
    unlabelled, missed, called, unseen = plain[:4]
    labelled = label("a.png", [cell for cell in cells if cell is not unlabelled and cell is not unseen])
    found = [cell for cell in field.cells if cell is not missed and cell is not unseen and cell is not called]
    found = [cell for cell in found if cell is not spherocytes[0]]
    found += [other_class(called), other_class(spherocytes[0])]
    places = asked(field, labelled, found)
    count = Counter(place.stratum for place in places)
    assert count[Stratum.FOUND_RED] == 1
    assert count[Stratum.MISSED] == 1
    assert count[Stratum.CALLED] == 1
    assert count[Stratum.NOT_CALLED] == 1
    assert count[Stratum.AGREED_SPHEROCYTE] == len(spherocytes) - 1
    assert count[Stratum.AGREED_RED] == len(cells) - len(spherocytes) - 4
    for stratum, cell in ((Stratum.FOUND_RED, unlabelled), (Stratum.MISSED, missed), (Stratum.CALLED, called)):
        (place,) = [place for place in places if place.stratum is stratum]
        assert true_cell(field, place) is cell
        assert place.found_cut is not True
        assert place.labelled_cut is not True
    shown = [true_cell(field, place) for place in places if place.stratum is Stratum.FOREGROUND]
    assert any(cell is unseen for cell in shown), "what neither saw is asked about"
    assert count[Stratum.CLEAR] > 0
    assert all(true_cell(field, place) is None for place in places if place.stratum is Stratum.CLEAR)


def test_a_detection_that_fits_a_label_badly_is_one_place_with_it(field: SyntheticField) -> None:
    (cell, *_) = [cell for cell in red(field) if not cell.touches_border]
    found = replace(cell, x=cell.x + round(0.35 * cell.mask.shape[1]))  # IoU of boxes below 0.5, above 0.3
    strata = {place.stratum for place in asked(field, label("a.png", [cell]), [found]) if place.found or place.labelled}
    assert strata <= {Stratum.AGREED_RED, Stratum.AGREED_SPHEROCYTE}


def test_the_same_seed_draws_the_same_key_and_each_reading_has_its_own_order(
    field: SyntheticField, tmp_path: Path
) -> None:
    places = asked(field, label("a.png", red(field)[::2]), red(field))
    size = Size(agreed=4, disputed=3, clear=2, fields=5)
    key = draw_key(places, ["a.png"], [DIAMETER], "test 1", size, seed=7)
    assert key == draw_key(places, ["a.png"], [DIAMETER], "test 1", size, seed=7)
    assert key != draw_key(places, ["a.png"], [DIAMETER], "test 1", size, seed=8)
    first, second = ([shown.index for shown in tiles] for tiles in key.tiles)
    assert sorted(first) == sorted(second)
    assert first != second
    assert key.tiles[0] != tuple(sorted(key.tiles[0], key=lambda shown: shown.index)), "strata are mixed"
    drawn = Counter(places[index].stratum for index in first)
    for stratum, count in Counter(place.stratum for place in places).items():
        assert drawn[stratum] == min(count, size.of(stratum))
    assert len(key.whole_fields[0]) == 1, "no more fields than there are"
    write_key(tmp_path / "key.json", key)
    assert read_key(tmp_path / "key.json") == key
    (tmp_path / "other.json").write_text('{"images": []}')
    with pytest.raises(DatasetError, match=r"other\.json cannot be read as the key"):
        read_key(tmp_path / "other.json")


def test_a_tile_tells_no_stratum_and_leaves_the_cell_uncovered(field: SyntheticField) -> None:
    (cell, *_) = [cell for cell in red(field) if not cell.touches_border]
    place = Place("a.png", Stratum.AGREED_RED, cell.box, found_cut=False, labelled_cut=False)
    tile = draw_tile(field.pixels, place, DIAMETER, AS_IT_IS)
    for stratum in Stratum:
        assert np.array_equal(tile, draw_tile(field.pixels, Place("b.png", stratum, cell.box), DIAMETER, AS_IT_IS))
    bare = field.pixels.copy()
    bare[:] = 200
    marks = draw_tile(bare, place, DIAMETER, AS_IT_IS)
    drawn = np.argwhere((marks != 200).any(axis=2))
    side = Layout().tile_px / max(Layout().context * DIAMETER, 1.3 * max(cell.box[2:]))
    expected = np.array([cell.box[3], cell.box[2]]) * side
    assert np.allclose(np.ptp(drawn, axis=0), expected, atol=3), "the corners stand about the box"
    middle = drawn - (Layout().tile_px - 1) / 2
    assert (np.abs(middle) > 0.3 * expected.min()).any(axis=1).all(), "nothing is drawn on the cell"


def test_beyond_the_fields_edge_a_tile_is_hatched(field: SyntheticField) -> None:
    tile = draw_tile(field.pixels, Place("a.png", Stratum.MISSED, (0, 150, 40, 50)), DIAMETER, AS_IT_IS)
    assert set(np.unique(tile[:, :40])) == {150, 215}
    turned_tile = draw_tile(field.pixels, Place("a.png", Stratum.MISSED, (0, 150, 40, 50)), DIAMETER, Shown(0, 2, True))
    assert np.array_equal(turned_tile, turned(tile, Shown(0, 2, True)))
    assert not np.array_equal(turned_tile, tile)


def test_sheets_and_whole_fields(field: SyntheticField) -> None:
    tile = draw_tile(field.pixels, Place("a.png", Stratum.CLEAR, (100, 100, 50, 50)), DIAMETER, AS_IT_IS)
    layout = Layout(columns=3, rows=2)
    sheet = draw_sheet([tile] * 5, ["31", "32", "33", "34", "35"], layout)
    step = (sheet.shape[1] - 6) // 3
    assert np.array_equal(sheet[22 : 22 + 240, 6 : 6 + 240], tile)
    assert (sheet[22 + 262 : 22 + 262 + 240, 2 * step + 6 :] == 255).all(), "there is no sixth"
    places = asked(field, label("a.png", red(field)), red(field))[:3]
    plain, dotted = (draw_field(field.pixels, some, AS_IT_IS, width=960) for some in ([], places))
    changed = (plain != dotted).any(axis=2)
    for x, y, w, h in (place.box for place in places):
        assert changed[min(max(round((y + h / 2) * 2), 5), 714), min(max(round((x + w / 2) * 2), 5), 954)]
    assert changed.sum() < 3 * 200


def test_judgements_are_letters_or_words_and_every_tile_has_one(tmp_path: Path) -> None:
    assert sorted(LETTERS.values()) == sorted(Judgement), "each has its own letter"
    assert set(MEANINGS) == set(Judgement)
    write_empty(tmp_path, 1, tiles=3, fields=2)
    path = tmp_path / "reading-1.csv"
    assert path.read_text() == "tile,judgement\n1,\n2,\n3,\n"
    with pytest.raises(DatasetError, match="tile 1 says ''"):
        read_judgements(path, 3)
    path.write_text("tile,judgement\n3,Edge\n1, r \n2,s\n")
    assert read_judgements(path, 3) == (Judgement.RED, Judgement.SPHEROCYTE, Judgement.EDGE)
    for wrong, told in (
        ("1,r\n2,r\n", "look at 3"),
        ("1,r\n2,r\n2,e\n3,r\n", "look at 2"),
        ("1,r\n2,q\n3,r\n", "says 'q'"),
    ):
        path.write_text("tile,judgement\n" + wrong)
        with pytest.raises(DatasetError, match=told):
            read_judgements(path, 3)
    path.write_text("tile,answer\n1,r\n")
    with pytest.raises(DatasetError, match="columns tile, judgement"):
        read_judgements(path, 1)
    with pytest.raises(DatasetError, match="field 1 needs two whole numbers"):
        read_undotted(tmp_path / "fields-1.csv", 2)
    with pytest.raises(DatasetError, match="is this the folder"):
        read_judgements(tmp_path / "reading-2.csv", 3)


def test_a_judge_who_knows_the_truth_gives_its_counts(
    reviewed: tuple[Key, list[Judgement], list[Judgement], int], field: SyntheticField
) -> None:
    """Three cells are not labelled, one is not found, the first two are called by the other class."""
    key, first, second, cells = reviewed
    figures = score_review(key, [first, second], [[Undotted(0, 0)], [Undotted(0, 0)]], repetitions=100)
    assert {row["kappa"] for row in figures["agreement"].values()} == {1.0}
    one, two = figures["fields"]
    assert (one["found"], one["labelled"], one["reviewed"]) == (cells - 1, cells - 3, cells)
    assert (two["found"], two["labelled"], two["reviewed"]) == (cells, cells, cells)
    whole = sum(not cell.touches_border for cell in red(field))
    assert two["reviewed_whole"] == pytest.approx(whole, abs=1.0), "the edge is known of judged cells only"
    said = {row["figure"]: row for row in figures["figures"]}
    errors = [1 / cells, 0.0]
    assert said["count error of a field (median), all cells, against the review"]["value"] == pytest.approx(
        np.median(errors), abs=1e-4
    )
    labels = said["count error of a field (median), all cells, against labels"]
    assert labels["value"] == pytest.approx(np.median([2 / (cells - 3), 0]), abs=1e-4)
    spherocytes = sum(cell.cell_class is CellClass.SPHEROCYTE for cell in red(field))
    swapped = sum(cell.cell_class is CellClass.RBC for cell in red(field)[:2])
    missing = red(field)[2].cell_class is CellClass.SPHEROCYTE
    right = 2 * spherocytes - (2 - swapped) - missing
    precision = said["spherocyte precision, against the review"]
    assert precision["value"] == pytest.approx(right / (right + swapped), abs=1e-4)
    assert precision["low"] <= precision["value"] <= precision["high"]


def test_cells_without_a_dot_are_added_to_every_field(
    reviewed: tuple[Key, list[Judgement], list[Judgement], int],
) -> None:
    key, first, second, cells = reviewed
    figures = score_review(key, [first, second], [[Undotted(1, 2)], [Undotted(1, 4)]], repetitions=100)
    assert [row["reviewed"] for row in figures["fields"]] == [cells + 4, cells + 4]
    without = score_review(key, [first, second], [[Undotted(0, 0)], [Undotted(0, 0)]], repetitions=100)
    added = [
        a["reviewed_whole"] - b["reviewed_whole"] for a, b in zip(figures["fields"], without["fields"], strict=True)
    ]
    assert added == pytest.approx([1, 1])


def test_where_the_readings_differ_a_place_counts_half_and_the_interval_widens(
    reviewed: tuple[Key, list[Judgement], list[Judgement], int],
) -> None:
    key, first, second, cells = reviewed
    (unlabelled, *_) = [
        number for number, shown in enumerate(key.tiles[1]) if key.places[shown.index].stratum.startswith("model only")
    ]
    doubted = [Judgement.OTHER if number == unlabelled else said for number, said in enumerate(second)]
    none = [[Undotted(0, 0)], [Undotted(0, 0)]]
    figures = score_review(key, [first, doubted], none, repetitions=100)
    assert figures["fields"][0]["reviewed"] == cells - 0.5
    assert figures["agreement"]["red cell or not"]["share"] == pytest.approx(1 - 1 / len(first))
    (row,) = [row for row in tile_rows(key, [first, doubted]) if row["reading_2"] == unlabelled + 1]
    assert row["second"] == "other"
    assert row["first"] != "other"
    assert row["field"] == "first.png"


def test_false_detections_lower_the_reviewed_count_and_not_the_found_one(field: SyntheticField) -> None:
    cells = red(field)
    clear = [p for p in asked(field, label("a.png", cells), cells) if p.stratum is Stratum.CLEAR]
    spot = ghost(cells[0], *clear[0].box[:2])
    places = asked(field, label("a.png", cells), [*cells, spot])
    key = draw_key(places, ["a.png"], [DIAMETER], "test 1", Size(5, 100, 2, 1), seed=4)
    readings = [[judge(field, key.places[shown.index]) for shown in tiles] for tiles in key.tiles]
    figures = score_review(key, readings, [[Undotted(0, 0)]] * 2, repetitions=100)
    (row,) = figures["fields"]
    assert (row["found"], row["reviewed"]) == (len(cells) + 1, len(cells))
    (stratum,) = [r for r in figures["strata"] if r["what labels and model say"] == str(Stratum.FOUND_RED)]
    assert stratum["judged"] == 1
    assert stratum["red %"].startswith("0 (")


def test_a_further_sample_shows_what_was_not_shown_and_is_scored_with_the_first(field: SyntheticField) -> None:
    cells = red(field)
    places = asked(field, label("a.png", cells[:-3]), cells)
    key = draw_key(places, ["a.png"], [DIAMETER], "test 1", Size(3, 2, 1, 1), seed=4)
    more = draw_more([key], Size(1000, 1000, 1000, 1), seed=5)
    first, second = ({shown.index for shown in sample.tiles[0]} for sample in (key, more))
    assert not first & second
    assert first | second == set(range(len(places)))
    assert more.whole_fields == ((), ())
    with pytest.raises(DatasetError, match="every place of that review was shown already"):
        draw_more([key, more], Size(1, 1, 1, 1), seed=6)
    other = draw_key(places[1:], ["a.png"], [DIAMETER], "test 1", Size(3, 2, 1, 1), seed=4)
    with pytest.raises(DatasetError, match="not of one review"):
        draw_more([key, other], Size(1, 1, 1, 1), seed=6)
    said = [
        [[judge(field, places[shown.index]) for shown in tiles] for tiles in sample.tiles] for sample in (key, more)
    ]
    none = [[Undotted(0, 0)], [Undotted(0, 0)]]
    part = score_review(key, said[0], none, repetitions=100)
    whole = score_review(key, said[0], none, more=[(more, said[1])], repetitions=100)
    assert part["tiles"] == len(first)
    assert whole["tiles"] == len(places)
    (row,) = whole["fields"]
    true = sum(not cell.touches_border for cell in cells)
    assert (row["reviewed"], row["reviewed_whole"]) == (len(cells), true), "nothing is left to be estimated"


def test_cohens_kappa() -> None:
    """The example of Cohen's coefficient in many textbooks: 20 and 15 agreements of 50, kappa 0.4."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa(["a", "a"], ["a", "a"]) is None
