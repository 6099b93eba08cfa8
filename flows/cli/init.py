"""`sphero init`: a commented settings file and the folders it names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import fail

TEMPLATE = """\
# Settings of Spheroflow. Every key has the default that stands here; an environment variable SPHERO_<SECTION>__<KEY>
# goes before this file. Relative paths are meant from the folder of this file. Check with: sphero doctor

[site]
name = ""                            # stands in messages as the sending facility, unless [hl7] says otherwise
time_zone = "UTC"                    # IANA name, such as "Europe/Berlin"
release_policy = "preliminary"       # results leave at once, as preliminary

[paths]
data = "sphero-data"                 # images, quarantine, pictures and, by default, the databases

[database]
url = "sqlite:///<data>/sphero.db"   # or postgresql+psycopg://user@host/name

[prefect]
api_url = ""                         # empty: an own server on 127.0.0.1; else such as "http://prefect.example:4200/api"
port = 4200                          # of the own server

[folder]
enabled = true
path = "<data>/incoming"             # one folder for each case in it, named by the accession number
scan_seconds = 5.0                   # between two looks
stable_seconds = 10.0                # a file that did not change for so long is complete
quiet_seconds = 120.0                # a case into which nothing came for so long is complete
pixel_aspect = 1.0                   # display width over height of one stored pixel, where case.json says nothing

[hl7]
sending_application = "SPHERO"
sending_facility = ""

# One block for each receiver of results; without any, results stay here.
# [[hl7.destination]]
# name = "lis"
# host = "lis.example"
# port = 2575
# ack_timeout_seconds = 30.0
# gap_seconds = 0.0                  # pause between two messages
# [hl7.destination.profile]
# receiving_application = "LIS"
# receiving_facility = "HOSP"
# processing_id = "P"                # P production, T training, D debugging
# charset = "UNICODE UTF-8"          # or "8859/1", "ASCII"
# equipment = "SPHERO-01"
# identifier_type = "MR"
# unverified_status = "P"            # or "R": stored, not yet verified
# accession_fields = ["SPM-2"]       # and/or "OBR-18"

[model]
bundle = "<shipped>"                 # or a folder made by `sphero model export`

[http]
host = "127.0.0.1"                   # health, and pictures for Prefect's pages
port = 8080
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; the current folder by default.")] = Path(),
) -> None:
    """Write a commented sphero.toml and make the folders it names."""
    from flows.config import FILE_NAME, load_settings
    from flows.places import places_of

    file = folder.absolute() / FILE_NAME
    if file.exists():
        fail(f"{file} is there already; remove it first, or give another folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TEMPLATE, encoding="utf-8")
    places = places_of(load_settings(file))
    places.make()
    print(f"settings        {file}")
    print(f"incoming folder {places.incoming}")
    print("next            name the LIS in [[hl7.destination]], then: sphero doctor, sphero up")
