"""`sphero model`: what a bundle is, and whether it is what it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.output import AsJson, print_facts, print_json

app = typer.Typer(help="The model.", no_args_is_help=True, rich_markup_mode=None)

BundleOption = Annotated[
    str | None, typer.Option("--bundle", metavar="DIR", help="Another bundle than that of the settings.")
]


def quiet_tensorflow() -> None:
    """Keep TensorFlow from telling what hardware it did not find; call before it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def bundle_of(setting: str | None) -> str:
    """The bundle that was asked for, or that of the settings."""
    if setting:
        return setting
    from flows.config import load_settings

    return load_settings().model.bundle


@app.command("show")
def show(bundle: BundleOption = None, as_json: AsJson = False) -> None:
    """Show what a bundle is: training data, input, thresholds, judge, calibration, figures, licences."""
    from sphero_core.bundle import load_bundle, resolve_bundle

    found = load_bundle(resolve_bundle(bundle_of(bundle)))
    # What older bundles say nothing of is told as absent.
    absent = {
        "label_margin": found.label_margin,
        "spherocyte_judge": None,
        "calibration": None,
        "training_points": None,
        "false_calls": None,
    }
    description = {**absent, **found.description}
    if as_json:
        print_json({**description, "sha256": found.id.sha256, "path": str(found.path)})
        return
    print_facts({"path": found.path, "sha256": found.id.sha256, **_flat(description)})


@app.command("verify")
def verify(bundle: BundleOption = None, as_json: AsJson = False) -> None:
    """Say whether a bundle is complete and unaltered; exit code 1 where it is not."""
    from sphero_core.bundle import load_bundle, resolve_bundle

    found = load_bundle(resolve_bundle(bundle_of(bundle)))
    if as_json:
        print_json({"intact": True, "name": found.id.name, "version": found.id.version, "sha256": found.id.sha256})
    else:
        print(f"{found.id.name} {found.id.version} is what it was: SHA-256 {found.id.sha256}")


@app.command("false-calls")
def false_calls(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle; it is sealed anew.")],
    evaluation: Annotated[
        Path, typer.Option(metavar="FILE", help="What `sphero evaluate --points` wrote.", exists=True, dir_okay=False)
    ],
    smears: Annotated[str, typer.Option(metavar="TEXT", help="Which smears these were; no network saw them before.")],
) -> None:
    """Record in a bundle how often it calls cells spherocytes on smears without any; the LIS is told `Detected` only above that."""
    from sphero_core.bundle import load_bundle, record_false_calls

    try:
        figures = json.loads(evaluation.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"it is no JSON: {error}", param_hint="--evaluation") from error
    digest = record_false_calls(folder, figures, smears)
    print(f"false calls {load_bundle(folder).false_call_percent:.2f} %, SHA-256 {digest}")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = ", ".join(str(each) for each in value) if isinstance(value, list) else value
    return flat
