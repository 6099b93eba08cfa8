"""`sphero init`: a commented settings file, a profile with every key, and the folders."""

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
release_policy = "preliminary"       # results leave at once, as preliminary; "hold": not before a person signs; "final": as
                                     # final without a person, only where the site has validated that
grade_scheme = "davis"               # 0, 1+ from 2 %, 2+ from 10, 3+ from 20, 4+ from 50; or "icsh-2015", or one of your own:
microcyte_um = 6.0                   # red cells narrower than this are counted as microcytes, where the scale is known

# [site.scheme.ours]                 # with grade_scheme = "ours"; each grade by the percentage from which it holds
# "1+" = 1.0
# "2+" = 5.0
# "3+" = 15.0

[paths]
data = "sphero-data"                 # images, quarantine, pictures and, by default, the databases
# shared = "/mnt/sphero"             # several machines on one database: images, quarantine and reports lie here for all

[host]
roles = ["intake", "cases", "delivery"]   # what this machine does where there are several; each does everything by default
lease_seconds = 30.0                 # after so long without a sign of life others take over what it did

[database]
url = "sqlite:///<data>/sphero.db"   # or postgresql+psycopg://sphero_service@host/name?sslmode=verify-full&sslrootcert=/etc/sphero/ca.pem
owner_url = ""                       # of the role that owns the tables; only `sphero db` uses it, mostly from the environment
owner_role = "sphero_owner"          # on PostgreSQL; see sphero db roles
service_role = "sphero_service"
reader_role = "sphero_reader"

[prefect]
api_url = ""                         # empty: an own server on 127.0.0.1; else such as "http://prefect.example:4200/api"
port = 4200                          # of the own server
public_url = ""                      # of the own server, as people reach it through a proxy
# auth_file = "secrets/prefect"      # its first line is user:password; without it everybody on this machine may do everything

[folder]
enabled = true
path = "<data>/incoming"             # one folder for each case in it, named by the accession number
scan_seconds = 5.0                   # between two looks
stable_seconds = 10.0                # a file that did not change for so long is complete
quiet_seconds = 120.0                # a case into which nothing came for so long is complete
pixel_aspect = 1.0                   # display width over height of one stored pixel, where case.json says nothing

# One block for each scanner of which the site knows what its images do not say, or say wrongly; the first that fits counts.
# [[scanner]]
# ae_title = "SCANNER1"              # as which it sends to our receiver,
# manufacturer = "Example"           # or as its DICOM objects name it; all that is given must fit
# model = ""
# serial = ""
# folder = false                     # true, instead: images of the watched folder that are no DICOM objects
# um_per_pixel = 0.1                 # micrometres, after un-stretching
# pixel_aspect = 1.0                 # display width over height of one stored pixel
# stain = ""

[hl7]
sending_application = "SPHERO"
sending_facility = ""
require_order = false                # true: a case is held until its order came from the LIS

# [review]
# authority = ""                     # who assigned the identifiers of the people who sign (OBX-16)
# user_header = ""                   # request header in which an identity provider in front of our pages puts the login
# [[review.person]]                  # one for each, as the receivers know them
# login = "apruefer"
# identifier = "4711"
# family = "Pruefer"
# given = "Anna"

# One block for each receiver of results; without any, results stay here.
# [[hl7.destination]]
# name = "lis"
# kind = "mllp"                      # or "batch": files of several messages, put into a folder
# host = "lis.example"
# port = 2575
# ack_timeout_seconds = 30.0
# gap_seconds = 0.0                  # pause between two messages
# profile = "default"                # how messages are written: a shipped profile, or a file such as "lis.toml"
# tls = false                        # true: with the files below, in PEM
# ca_file = "tls/authority.pem"      # who signs the receiver's certificate; without it, the system's authorities
# cert_file = "tls/sphero.pem"       # our own certificate, where the receiver asks for one
# key_file = "tls/sphero.key"
# key_password_file = "tls/password" # where the key has one
# folder = "/mnt/lis"                # of kind "batch", instead of host and port; it must be there
# batch_messages = 100               # a file is written when so many messages wait,
# batch_seconds = 60.0               # or the first of them waits for so long
# server_name = ""                   # name in the receiver's certificate, where it is not the host

[hl7.listener]                       # orders and patient data in, over MLLP
enabled = false
host = "127.0.0.1"                   # "0.0.0.0" for every interface of this machine
port = 2576
allowed_addresses = []               # such as ["10.1.2.3", "10.1.0.0/16"]; empty for all
max_connections = 16
idle_seconds = 3600.0                # a connection on which nothing came for so long is closed
charset = "UNICODE UTF-8"            # of messages that do not say it in MSH-18; or "8859/1", "ASCII"
accession_fields = ["SPM-2", "OBR-18", "OBR-3", "ORC-3"]   # where the accession number stands: the first that has one
service_codes = []                   # OBR-4 of the orders that are ours, such as ["58408-6"]; empty for all
patient_authority = ""               # whose identifier counts where PID-3 has several; empty: type MR, else the first
default_authority = ""               # of identifiers for which PID-3 names no authority; empty refuses them
tls = false                          # true: with cert_file and key_file; ca_file: clients need a certificate

[dicom.receiver]                     # images in, by C-STORE
enabled = false
host = "127.0.0.1"                   # "0.0.0.0" for every interface of this machine
port = 11112
ae_title = "SPHERO"                  # as which we are called
allowed_ae_titles = []               # of those that may call, such as ["SCANNER1"]; empty for all
allowed_addresses = []               # such as ["10.1.2.3", "10.1.0.0/16"]; empty for all
max_associations = 16
max_object_mib = 512                 # larger objects are refused
idle_seconds = 60.0                  # an association on which nothing came for so long is ended
handshake_seconds = 15.0             # for the TLS handshake and the association request
tls = false                          # true: with cert_file and key_file; ca_file: senders need a certificate
# [[dicom.receiver.requester]]       # where one listens that asks for storage commitment and does not wait for the answer
# ae_title = "SCANNER1"
# host = "scanner1.example"
# port = 104

# One block for each store that is asked for new images.
# [[dicom.store]]
# name = "pacs"
# kind = "dicomweb"                  # or "dimse": C-FIND with C-GET or C-MOVE
# url = "https://pacs.example.org/dicom-web"   # of kind "dicomweb"; https means tls
# host = "pacs.example.org"          # of kind "dimse", with port and ae_title
# port = 104
# ae_title = "PACS"
# own_ae_title = "SPHERO"            # as which we call it
# retrieve = "wado"                  # of kind "dimse": "c-get", or "c-move" to our own receiver
# poll_seconds = 30.0                # between two questions for new studies
# modalities = ["GM", "SM"]          # of the series that are wanted
# sop_classes = []                   # UIDs; empty for every one that we read
# days_back = 3                      # studies whose date lies so far back are looked at each time,
# sweep_days = 60                    # and those so far back (0: all) once in so many hours
# sweep_hours = 24.0
# page_size = 100                    # answers asked for at a time
# max_object_mib = 512
# connect_seconds = 10.0
# timeout_seconds = 60.0             # for each answer
# user = "sphero"                    # with a password from a file or an environment variable, never from here
# password_file = "secrets/pacs"
# password_variable = "PACS_PASSWORD"
# token_file = "secrets/token"       # or a bearer token, of kind "dicomweb"
# token_variable = "PACS_TOKEN"
# server_name = ""                   # name in its certificate, where it is not the host
# tls = false                        # of kind "dimse": true with the files below, in PEM, as in [[hl7.destination]]

# One block for each archive that takes our results; kind, address, user, timeouts and tls as in [[dicom.store]].
# [[dicom.archive]]
# name = "archive"
# kind = "dimse"                     # or "dicomweb" with url
# objects = ["ann", "sr"]            # annotations of each field, measurement report of each case; "seg": label maps
# commitment = false                 # true: it is asked to confirm that it keeps them; of kind "dimse"

[dicom.commitment]                   # where archives with commitment = true report that they keep what they took
host = "127.0.0.1"
port = 11113
ae_title = "SPHERO"
patience_seconds = 600.0             # without an answer for so long, an archive is asked again
tls = false                          # true: with cert_file and key_file, as in [dicom.receiver]

# [dicom.codes]                      # codes of the site in place of ours in objects: value, scheme, meaning

[retention]                          # days since the last change of a closed case; 0 keeps for ever
image_days = 0                       # originals; their hashes, results, messages and the audit are always kept
cell_days = 0                        # single cells; no new version of the case can be made afterwards
report_days = 0                      # reports for people (HTML, PDF)

[audit]
anchor_folder = "<data>/anchors"     # the end of the audit chain is kept there; better on another machine's disk
anchor_seconds = 900.0               # so often, and at start and stop

# [audit.syslog]                       # the hospital's audit repository: DICOM audit messages over syslog with TLS
# enabled = true
# host = "audit.example"
# port = 6514
# ca_file = "tls/authority.pem"        # who signs its certificate; cert_file and key_file where it asks for ours
# source_id = ""                       # as which it knows us; "spheroflow@" and the machine's name by default
# forward_seconds = 5.0

[model]
bundle = "<shipped>"                 # or a folder made by `sphero model export`

[quality]                            # a field that breaks a limit is kept and shown, and not counted: deploy/docs/quality.md
max_clipped_share = 0.05             # pixels so bright that the camera tells no difference
min_clear_level = 60.0               # green level (0 to 255) of the smear without cells
min_contrast = 0.035                 # density (log10) of cells over the smear
max_edge_width = 0.175               # how wide outlines are, in cell diameters: focus
min_cell_share = 0.04                # of the picture, covered by cells: thin end of the film
max_cell_share = 0.72                # too crowded
max_red_ratio = 0.88                 # red to green density of cells: a picture without colour has 1
min_blue_ratio = 0.36                # blue to green density of cells: haematoxylin and eosin stay below
max_blue_ratio = 1.3
min_outline_share = 0.12             # outlines over area: things larger than cells stay below,
max_outline_share = 0.7              # print and fibres above
max_ink_share = 0.01                 # black or ink: pen marks, pointers

[http]
host = "127.0.0.1"                   # health, measures for monitoring, and pictures for Prefect's pages
port = 8080
public_url = ""                      # how people reach it behind a proxy, such as "https://sphero.example.org"; pictures are shown by it
tls = false                          # true: with cert_file and key_file; ca_file: who asks needs a certificate

[disk]
stop_below_mib = 1024                # with less room nothing more is taken in until some is free again; 0: never
warn_below_mib = 5120                # with less room `sphero doctor` warns

[watch]                              # what /metrics tells of drift:
drift_cases = 50                     # the median spherocyte percentage of so many of the latest cases
baseline_cases = 500                 # against that of so many cases before them

[log]                                # on standard error
format = "console"                   # or "json": one object a line
level = "info"                       # or "debug", "warning", "error"

[alerts]                             # people are told of failed and held cases, and of the service's own troubles
oldest_message_minutes = 60.0        # and when a receiver has not accepted a result for so long
webhook_url = ""                     # gets JSON by POST: alert, what, why, link, text
# webhook_url_file = "secrets/webhook"   # in place of it, where the address is a secret

# [alerts.mail]
# host = "mail.example.org"
# port = 25
# security = "none"                  # or "starttls", "tls"
# ca_file = "tls/authority.pem"      # who signs the mail server's certificate; without it, the system's authorities
# user = "sphero"
# password_file = "secrets/mail"
# sender = "sphero@example.org"
# recipients = ["haematology@example.org"]

[housekeeping]                       # days; cases, messages and the audit log stay for ever
prefect_days = 90                    # runs in Prefect,
watching_days = 7                    # those that only watched, or delivered, sooner
picture_days = 30                    # rendered pictures that nobody looked at; they are drawn anew when somebody does
output_days = 30                     # old output of child processes
"""


PROFILE = "lis.toml"


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; the current folder by default.")] = Path(),
) -> None:
    """Write a commented sphero.toml, a message profile to edit, and make the folders."""
    from flows.config import FILE_NAME, load_settings
    from flows.places import places_of
    from integrations.hl7.profile_file import profile_path

    file = folder.absolute() / FILE_NAME
    if file.exists():
        fail(f"{file} is there already; remove it first, or give another folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TEMPLATE, encoding="utf-8")
    places = places_of(load_settings(file))
    places.make()
    profile = file.with_name(PROFILE)
    if not profile.exists():
        profile.write_text(profile_path("default", file.parent).read_text(encoding="utf-8"), encoding="utf-8")
    print(f"settings        {file}")
    print(f"profile         {profile}")
    print(f"incoming folder {places.incoming}")
    print("next            name the LIS in [[hl7.destination]], then: sphero doctor, sphero up")
