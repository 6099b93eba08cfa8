"""The root of the command line: which commands there are, and how failures are told."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.cli import (
    analyze,
    audit,
    card,
    case,
    case_acts,
    case_export,
    case_release,
    config,
    crossval,
    dataset,
    dataset_import,
    db,
    demo,
    dicom,
    doctor,
    evaluate,
    housekeeping,
    init,
    lis_simulator,
    message,
    model,
    order,
    review,
    robustness,
    sbom,
    train,
    up,
)
from flows.cli.output import fail

DEBUG = "--debug"

app = typer.Typer(
    name="sphero",
    help="Finds spherocytes in blood smears and reports them to the laboratory information system.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config")
app.command("sbom")(sbom.sbom)
app.command("housekeeping")(housekeeping.housekeeping)
app.command("analyze")(analyze.analyze)
app.command("evaluate")(evaluate.evaluate)
model.app.command("train")(train.train)
model.app.command("crossval")(crossval.crossval)
model.app.command("robustness")(robustness.robustness)
model.app.command("card")(card.card)
app.add_typer(model.app, name="model")
dataset.app.command("import")(dataset_import.import_labels)
dataset.app.command("masks")(dataset.masks)
dataset.app.command("split")(dataset.split)
dataset.app.command("show")(dataset.show)
dataset.app.command("synthesize")(dataset_import.synthesize)
dataset.app.add_typer(review.app, name="review")
app.add_typer(dataset.app, name="dataset")
case_acts.add_to(case.app)
case.app.command("export")(case_export.export_case)
case.app.command("release")(case_release.release_cases)
app.add_typer(case.app, name="case")
app.add_typer(message.app, name="message")
app.add_typer(order.app, name="order")
app.add_typer(audit.app, name="audit")
app.add_typer(db.app, name="db")
app.add_typer(dicom.app, name="dicom")
app.command("lis-simulator", epilog=lis_simulator.FAULTS)(lis_simulator.lis_simulator)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of a failure.")] = False,
) -> None:
    """Finds spherocytes in blood smears and reports them to the laboratory information system."""


def main() -> None:
    """Run the command line; a failure is one line on standard error and exit code 1."""
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    try:
        app(arguments)
    except Exception as error:
        if DEBUG in sys.argv:
            raise
        fail(error)
