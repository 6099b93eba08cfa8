"""A case analysed anew with another model bundle: the earlier analysis is kept, and a new version follows.

The fields are analysed before anything is recorded; then everything is recorded in one commit, and the case goes its usual way: a preliminary
version, or, where a final result is out, none before a person signs the correction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from db.errors import CaseChanged
from db.people import Actor
from db.reviews import SIGNABLE
from db.session import Database
from flows.analyse import record_findings
from flows.errors import ReviewRefused
from flows.image_tasks import image_task
from sphero_core.bundle import load_bundle
from sphero_core.case import FieldSource, analyse_source, measure_case
from sphero_core.detector import Detector, load_detector
from sphero_core.errors import ImageError
from sphero_core.types import BundleId


@dataclass(frozen=True, slots=True)
class Reanalysed:
    """What an analysis anew came to.

    Attributes
    ----------
    bundle : BundleId
    fields : int
    relabelled : int
        Cells of the earlier analysis that people had given another class; these reviews stay with that analysis.
    """

    bundle: BundleId
    fields: int
    relabelled: int


def reanalyse(
    database: Database,
    store: Path,
    case_id: str,
    bundle_folder: Path,
    actor: Actor,
    *,
    pixel_aspect: float = 1.0,
    on_field: Callable[[int, int], None] = lambda _done, _all: None,
    load: Callable[[Path], tuple[Detector, BundleId]] | None = None,
) -> Reanalysed:
    """Analyse every analysed field of a case with another bundle.

    Parameters
    ----------
    store : Path
        Where images are.
    pixel_aspect : float
        Where the case names none.
    on_field : callable
        ``(done, all)`` after each field.
    load : callable or None
        Gives the detector of a bundle's folder; the real one by default.

    Raises
    ------
    ReviewRefused
        The case cannot be analysed anew, or was analysed with this bundle before.
    CaseChanged
        Something came meanwhile; nothing is recorded.
    BundleError, NotFound, DatabaseError
    """
    with database.reading() as work:
        case, seen = work.cases.get(case_id), work.reviews.seen(case_id)
        results = work.analyses.results_of(case_id)
        relabelled = work.reviews.relabelled(case_id)
        known = work.analyses.bundles_of(case_id)
    if case.state not in SIGNABLE or not results:
        raise ReviewRefused(f"the case is {case.state}: only what is analysed, reported or signed is analysed anew")
    detector, bundle = (load or _load)(bundle_folder)
    if bundle.sha256 in known:
        raise ReviewRefused(f"the case was analysed with the bundle {bundle.name} before; that analysis is kept")
    tasks = [image_task(store, case, result.field, pixel_aspect) for result in results]
    sources = [FieldSource(task.path, "", task.frame, task.pixel_aspect) for task in tasks]
    diameter, found = measure_case(sources), []
    for number, source in enumerate(sources, start=1):
        try:
            found.append(analyse_source(detector, source, diameter)[1])
        except (ImageError, OSError) as error:
            raise ReviewRefused(f"field {number} cannot be read any more ({error}); nothing was changed") from None
        on_field(number, len(sources))
    with database.transaction(actor.login) as work:
        if work.reviews.seen(case_id) != seen:
            raise CaseChanged("the case changed while it was analysed; nothing is recorded: analyse it again")
        for result, findings in zip(results, found, strict=True):
            record_findings(work, result.field, bundle, findings)
        work.cases.analysed_anew(case_id)
    return Reanalysed(bundle, len(found), relabelled)


def _load(folder: Path) -> tuple[Detector, BundleId]:
    bundle = load_bundle(folder)
    return load_detector(bundle), bundle.id
