"""`sphero dicom`: an engineer's probes of the DICOM systems around us."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.output import AsJson, fail, print_json, print_rows

if TYPE_CHECKING:
    from flows.dicom_settings import DicomSettings, PeerSettings, StoreSettings

app = typer.Typer(help="Probes of DICOM systems, and what we conform to.", no_args_is_help=True, rich_markup_mode=None)

PEER = "A name from [[dicom.store]] or [[dicom.archive]], TITLE@HOST:PORT, or the root url of a DICOMweb service."


@app.command("echo")
def echo(
    peers: Annotated[list[str] | None, typer.Argument(metavar="[PEER]...", help=PEER + " Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether a system answers and lets us in: C-ECHO and the services we need, or QIDO-RS."""
    from flows.dicom_checks import peer_check

    dicom = _settings()
    wanted = [_peer(dicom, name) for name in peers or []] or [*dicom.store, *dicom.archive]
    if not wanted:
        fail("no [[dicom.store]] and no [[dicom.archive]] is set; name one, such as PACS@pacs.example.org:104")
    rows = []
    for peer in wanted:
        began = time.monotonic()
        check = peer_check(peer, dicom.receiver)
        row = {"peer": peer.name, "state": check.state, "found": check.found, "remedy": check.remedy}
        rows.append({**row, "seconds": round(time.monotonic() - began, 3)})
        if not as_json:
            remedy = f" -> {check.remedy}" if check.remedy else ""
            print(f"{check.state:4}  {peer.name:16}  {check.found}{remedy}", flush=True)
    if as_json:
        print_json(rows)
    if any(row["state"] == "fail" for row in rows):
        raise SystemExit(1)


@app.command("send")
def send(
    peer: Annotated[str, typer.Argument(metavar="PEER", help=PEER)],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="DICOM files.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Send files as they are, by C-STORE or STOW-RS; exit code 1 where one was not taken."""
    from flows.dicom_wiring import make_entity, make_web_service
    from integrations.dicom.probe import post_files, send_files

    found = _peer(_settings(), peer)
    if found.kind == "dimse":
        sending = send_files(make_entity(found), files)
    else:
        sending = post_files(make_web_service(found), files)
    rows: list[dict[str, Any]] = []
    for sent in sending:
        rows.append({"file": str(sent.path), "taken": sent.problem is None, "problem": sent.problem})
        if not as_json:
            print(f"ok    {sent.path}" if sent.problem is None else f"fail  {sent.path}: {sent.problem}", flush=True)
    if as_json:
        print_json(rows)
    if not all(row["taken"] for row in rows):
        raise SystemExit(1)


@app.command("find")
def find(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A name from [[dicom.store]].")],
    days: Annotated[int, typer.Option(min=0, help="Studies whose date lies so far back; 0: today's.")] = 3,
    study: Annotated[str, typer.Option(metavar="UID", help="The instances of this study instead.")] = "",
    as_json: AsJson = False,
) -> None:
    """List what a store has of the modalities that are wanted; UIDs and counts only, no names."""
    from contextlib import closing

    from flows.dicom_wiring import make_store, make_wanted

    dicom = _settings()
    settings = _store(dicom, store)
    wanted = make_wanted(settings)
    rows: list[dict[str, Any]]
    with closing(make_store(settings, dicom.receiver)) as opened:
        if study:
            rows = [
                {
                    "instance": each.sop_instance_uid,
                    "class": each.sop_class_uid,
                    "modality": each.modality,
                    "wanted": wanted.fits(each),
                }
                for each in opened.instances(study)
            ]
        else:
            since = (datetime.now().astimezone() - timedelta(days=days)).date()
            rows = [
                {"study": each.study_uid, "instances": each.instances}
                for each in opened.studies(wanted.modalities, since)
            ]
    print_rows(rows, as_json=as_json, empty="nothing")


def _settings() -> DicomSettings:
    from flows.config import load_settings

    return load_settings().dicom


def _peer(dicom: DicomSettings, name: str) -> PeerSettings:
    """A system of the settings by its name, or one that is written out."""
    from pydantic import ValidationError

    from flows.dicom_settings import PeerSettings

    told = ""
    known: dict[str, PeerSettings] = {each.name: each for each in (*dicom.store, *dicom.archive)}
    if name in known:
        return known[name]
    try:
        if name.startswith(("http://", "https://")):
            return PeerSettings(name="given", kind="dicomweb", url=name)
        title, _, where = name.rpartition("@")
        host, _, port = where.rpartition(":")
        if title and host and port.isdigit():
            return PeerSettings(name="given", kind="dimse", host=host, port=int(port), ae_title=title)
    except ValidationError as error:
        told = ": " + "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors(include_url=False))
    names = ", ".join(known) or "there is none"
    return fail(f"{name!r} is no store or archive of the settings ({names}), nor TITLE@HOST:PORT or a url{told}")


def _store(dicom: DicomSettings, name: str) -> StoreSettings:
    found = next((each for each in dicom.store if each.name == name), None)
    if found is None:
        fail(f"{name!r} is no [[dicom.store]]; there are: {', '.join(each.name for each in dicom.store) or 'none'}")
    return found


@app.command("conformance")
def conformance() -> None:
    """Print the DICOM conformance statement (PS3.2)."""
    from integrations.dicom.conformance import statement

    print(statement(), end="")
