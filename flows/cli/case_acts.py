"""`sphero case relabel|sign|reject|reanalyze`: what a person does about a result; each act is audited under the person's name."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.output import fail
from flows.cli.records import one_case, open_database

if TYPE_CHECKING:
    from db.people import Actor
    from db.session import Database
    from db.views import ReportView
    from flows.review_desk import ReviewDesk
    from flows.settings import Settings

Case = Annotated[str, typer.Argument(help="Our id of the case, or its accession number.")]
By = Annotated[str, typer.Option(help="Who does so, by login; your own by default.")]
WORDS = {"F": "final", "C": "corrected", "X": "no result", "W": "wrong patient"}


def relabel_cell(
    case: Case,
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="Field and cell as the report numbers them, such as 3.17.")
    ],
    cell_class: Annotated[str, typer.Argument(metavar="CLASS", help="RBC, Spherocyte, Platelet or WBC.")],
    by: By = "",
) -> None:
    """Give a cell another class; the machine's call is kept beside it, and counts, percentage and grade follow."""
    from sphero_core.types import CellClass

    numbers = re.fullmatch(r"(\d{1,6})\.(\d{1,6})", cell)
    if numbers is None:
        raise typer.BadParameter("write field and cell as in 3.17", param_hint="CELL")
    known = {each.value.lower(): each for each in CellClass}
    if cell_class.lower() not in known:
        raise typer.BadParameter(f"classes are {', '.join(CellClass)}", param_hint="CLASS")
    with _at_desk(case, by) as (desk, case_id, actor):
        review = desk.relabel(case_id, int(numbers[1]), int(numbers[2]), known[cell_class.lower()], actor)
        counts = desk.preview(case_id).counts
    changed = (
        f"is {review.cell_class} now, was {review.before}" if review.changed else f"is {review.cell_class} already"
    )
    print(f"cell {review.field}.{review.cell} {changed}; the machine called it {review.machine_class}")
    percent = "-" if counts.spherocyte_percent is None else f"{counts.spherocyte_percent:.1f} %"
    graded = f", grade {counts.grading.grade} by {counts.grading.scheme}" if counts.grading else ""
    print(f"{counts.spherocytes} of {counts.red_cells} red cells ({percent}){graded}; `sphero case sign` sends it")


def sign_case(
    case: Case,
    comment: Annotated[str, typer.Option(help="Leaves with the result.")] = "",
    grade: Annotated[str, typer.Option(help="Another grade than was reckoned, such as 2+; needs --reason.")] = "",
    reason: Annotated[str, typer.Option(help="Why the grade is changed; it leaves with the result.")] = "",
    by: By = "",
) -> None:
    """Sign a result: it leaves as final, or as corrected where a final one is out."""
    with _at_desk(case, by) as (desk, case_id, actor):
        report = desk.sign(case_id, actor, comment=comment, grade=grade, reason=reason)
    if not report.new:
        print(f"version {report.revision} is signed already, and nothing changed since")
        return
    _told(report)
    _make_report(report, actor)


def reject_case(
    case: Case,
    reason: Annotated[str, typer.Option(help="Why; it leaves with the message: no names, no numbers of patients.")],
    wrong_patient: Annotated[
        bool, typer.Option("--wrong-patient", help="Withdraw what was reported: it belongs to another patient.")
    ] = False,
    by: By = "",
) -> None:
    """Close a case for good and tell the receivers; the next image under its accession number begins a new one."""
    if not reason.strip():
        raise typer.BadParameter("must say something", param_hint="--reason")
    with _at_desk(case, by) as (desk, case_id, actor):
        report = desk.withdraw(case_id, actor, reason) if wrong_patient else desk.reject(case_id, actor, reason)
    if report is None:
        print(f"case {case_id} is closed; its patient is not known, so no receiver is told")
        return
    _told(report)


def reanalyze_case(
    case: Case,
    bundle: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The model bundle; that of the settings by default."),
    ] = None,
    by: By = "",
) -> None:
    """Analyse a case anew with another model; the earlier analysis is kept, and a new version follows."""
    from flows.cli.progress import shown
    from flows.places import places_of
    from flows.reanalysis import reanalyse
    from sphero_core.bundle import resolve_bundle

    with refusals():
        settings, database = loaded_settings(), open_database()
        case_id, actor = case_id_of(database, case), actor_named(settings, by)
        with shown("fields", None) as bar:
            done = reanalyse(
                database,
                places_of(settings).store,
                case_id,
                bundle or resolve_bundle(settings.model.bundle),
                actor,
                pixel_aspect=settings.folder.pixel_aspect,
                on_field=lambda done, total: bar.say(f"field {done} of {total}"),
            )
    print(
        f"{done.fields} fields analysed anew with {done.bundle.name} {done.bundle.version}; the service makes the next version"
    )
    if done.relabelled:
        print(f"{done.relabelled} cells that people had given another class have the new model's call")


@contextmanager
def _at_desk(case: str, by: str) -> Iterator[tuple[ReviewDesk, str, Actor]]:
    from flows.review_wiring import make_review_desk

    with refusals():
        settings, database = loaded_settings(), open_database()
        actor = actor_named(settings, by)
        yield make_review_desk(settings, database), case_id_of(database, case), actor


@contextmanager
def refusals() -> Iterator[None]:
    """Tell in one line why something cannot be done."""
    from db.errors import CaseChanged, CaseNotReady, IllegalMove, NotFound
    from flows.errors import PersonUnknown, ReviewRefused

    try:
        yield
    except (CaseChanged, CaseNotReady, IllegalMove, NotFound, PersonUnknown, ReviewRefused) as error:
        fail(error)


def loaded_settings() -> Settings:
    """The settings of this installation."""
    from flows.config import load_settings

    return load_settings()


def actor_named(settings: Settings, by: str) -> Actor:
    """The person with this login; by default the one who runs the command."""
    from flows.people import actor_of

    return actor_of(settings.review, by)


def case_id_of(database: Database, case: str) -> str:
    """The id of a case, by that or by its accession number; ends where there is none."""
    with database.reading() as work:
        return one_case(work, case).case_id


def _make_report(report: ReportView, actor: Actor) -> None:
    """Make the report for people while the case is as it was signed; the signature stands whatever becomes of it."""
    from db.errors import DatabaseError
    from flows.errors import ReviewRefused
    from flows.places import places_of
    from flows.report_wiring import make_report_desk

    try:
        settings = loaded_settings()
        make_report_desk(settings, places_of(settings), open_database()).files(
            report.case_id, actor.login, report.revision
        )
    except (DatabaseError, OSError, ReviewRefused) as error:
        reason = error if isinstance(error, ReviewRefused) else type(error).__name__
        print(f"sphero: the result is signed, but its report for people could not be made: {reason}", file=sys.stderr)


def _told(report: ReportView) -> None:
    status = WORDS[report.status.value]
    print(f"version {report.revision} of case {report.case_id} ({status}) is recorded and waits to be sent")
    if report.status.value in "FC" and report.act is not None:
        counts, given = report.counts, report.act.grade
        percent = "-" if counts.spherocyte_percent is None else f"{counts.spherocyte_percent:.1f} %"
        grade = given.grade if given else counts.grading.grade if counts.grading else "-"
        changed = f", changed from {given.machine_grade}" if given else ""
        print(f"{counts.spherocytes} of {counts.red_cells} red cells ({percent}), grade {grade}{changed}")


def add_to(app: typer.Typer) -> None:
    """Add these commands to `sphero case`."""
    commands: dict[str, Callable[..., None]] = {
        "relabel": relabel_cell,
        "sign": sign_case,
        "reject": reject_case,
        "reanalyze": reanalyze_case,
    }
    for name, command in commands.items():
        app.command(name)(command)
