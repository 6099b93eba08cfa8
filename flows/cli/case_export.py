"""`sphero case export`: the cells and the report of one case as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.case_acts import Case, actor_named, case_id_of, loaded_settings, refusals
from flows.cli.output import fail
from flows.cli.records import open_database

if TYPE_CHECKING:
    from flows.outcome import Material

WHAT = ("all", "cells", "report")


def export_case(
    case: Case,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the files; made where it is missing.")],
    what: Annotated[
        str, typer.Option(help="cells, report or all. The report names the patient, the cells do not.")
    ] = "all",
    version: Annotated[int, typer.Option(min=0, help="Version of the report; the latest by default.")] = 0,
    by: Annotated[str, typer.Option(help="Who asks, for the audit; your login by default.")] = "",
) -> None:
    """Write the cells (CSV, COCO JSON, GeoJSON for QuPath) and the report for people (HTML, PDF/A) of a case."""
    if what not in WHAT:
        raise typer.BadParameter(f"must be one of {', '.join(WHAT)}", param_hint="--what")
    from flows.outcome import read_material
    from flows.places import places_of
    from flows.report_wiring import make_report_desk

    files: dict[str, bytes] = {}
    with refusals():
        settings, database = loaded_settings(), open_database()
        actor, case_id = actor_named(settings, by), case_id_of(database, case)
        if what != "report":
            with database.reading() as work:
                files |= _cells(read_material(work, work.cases.get(case_id)))
        if what != "cells":
            desk = make_report_desk(settings, places_of(settings), database)
            files |= {
                f"report.{kind}": data for kind, data in desk.files(case_id, actor.login, version or None).items()
            }
        with database.transaction(actor.login) as work:
            work.audit.append("case exported", case_id, what=what)
    if not files:
        fail("the case has no analysed field: there is nothing to write")
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (out / name).write_bytes(data)
        print(out / name)


def _cells(material: Material) -> dict[str, bytes]:
    from flows.outcome import records_of
    from sphero_core.exports import cells_csv, coco_document
    from sphero_core.geojson import geojson_document

    if not material.fields:
        return {}
    records = records_of(material.case, material.fields)
    written = {"cells.csv": cells_csv(records).encode(), "coco.json": _json(coco_document(records))}
    for result, record in zip(material.fields, records, strict=True):
        written[f"field-{result.field.number:03d}.geojson"] = _json(geojson_document(record))
    return written


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
