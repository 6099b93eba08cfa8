"""`sphero model card`: the model card of a bundle, made of files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.model import BundleOption, bundle_of
from flows.errors import SettingsError


def card(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the card goes, as Markdown.")],
    crossval: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of `sphero model crossval`: its report and galleries.")
    ] = None,
    robustness: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A robustness.json of this bundle; repeatable.")
    ] = None,
    bundle: BundleOption = None,
) -> None:
    """Write the model card of a bundle; every number in it comes from the bundle and the files named here."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingsError("a model card needs the extra 'train', which is not installed; `make setup` installs it")
    from sphero_core.bundle import load_bundle, resolve_bundle
    from sphero_core.training.card import card_text

    found = load_bundle(resolve_bundle(bundle_of(bundle)))
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in robustness or ()]
    for path, document in zip(robustness or (), documents, strict=True):
        if (document["bundle"] or {}).get("sha256") != found.id.sha256:
            raise typer.BadParameter(f"{path.name} was measured with another bundle", param_hint="--robustness")
    report: dict[str, Any] | None = None
    pictures: list[str] = []
    if crossval is not None:
        report = json.loads((crossval / "report.json").read_text(encoding="utf-8"))
        galleries = sorted(crossval.glob("failures-*.png"))
        out.parent.mkdir(parents=True, exist_ok=True)
        for picture in galleries:
            (out.parent / picture.name).write_bytes(picture.read_bytes())
        pictures = [picture.name for picture in galleries]
    out.write_text(card_text(found.description, found.id.sha256, report, documents, pictures), encoding="utf-8")
    print(out)
