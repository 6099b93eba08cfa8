"""The DICOM conformance statement (PS3.2), written from the tables that the program itself works with.

`statement` gives the whole document; `deploy/docs/dicom-conformance.md` is its text for the defaults, and a test compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.uid import UID

from integrations.dicom.catalogue import COLOUR_SPACES, IMAGE_CLASSES, SYNTAXES, WHOLE_SLIDE
from integrations.dicom.commitment import PUSH_MODEL
from integrations.dicom.conformance_answers import answers
from integrations.dicom.dicomweb import INSTANCE, JSON
from integrations.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from integrations.dicom.peer import MAX_PDU
from integrations.dicom.query import FIND, GET, MOVE
from integrations.dicom.store_scp import VERIFICATION, StoreStatus
from integrations.dicom.store_scu import EMITTED, LABEL_MAP

_MEANINGS = {
    StoreStatus.SUCCESS: "the instance is durably stored: file and row are on disk; also where it was stored before, byte by byte",
    StoreStatus.OUT_OF_RESOURCES: "no space is left, or the database is away; nothing was stored; send it again later",
    StoreStatus.MISMATCH: "the data set is not of the class or instance that the command names",
    StoreStatus.NOT_UNDERSTOOD: "the data set is cut off, or cannot be understood",
    StoreStatus.CONFLICT: "another data set has this SOP instance UID; both are kept, and the case is held for a person",
}

_SCU = (
    (VERIFICATION, "SCU and SCP"),
    (FIND, "SCU"),
    (GET, "SCU"),
    (MOVE, "SCU"),
    (PUSH_MODEL, "SCU and SCP"),
)

_OVERVIEW = """\
# DICOM conformance statement

Of Spheroflow, after the structure of DICOM PS3.2. `sphero dicom conformance` prints it; the tables come from the program.

## 1. Overview

Spheroflow takes images of blood smears from scanners and stores, finds and counts red cells and spherocytes in them, and
reports the counts, to archives as annotations, reports and label maps. It displays no images and prints nothing. It is not a cleared medical device.
"""

_ARCHITECTURE = """\
## 2. Networking

### 2.1 Implementation model

| application entity | does | real-world activity |
| --- | --- | --- |
| receiver (`[dicom.receiver]`) | Verification, Storage and Storage Commitment as SCP | a scanner or a store sends images |
| fetcher (`[[dicom.store]]`) | Query/Retrieve as SCU, Storage as SCP within C-GET; or QIDO-RS and WADO-RS as user agent | every `poll_seconds`, new studies of the wanted modalities are fetched |
| archiver (`[[dicom.archive]]`) | Storage and Storage Commitment as SCU; or STOW-RS as user agent | every version of a result is sent as objects |
| engineer's probe (`sphero dicom`) | Verification and Storage as SCU; QIDO-RS and STOW-RS as user agent | an engineer tries a connection |

The AE title is that of `[dicom.receiver] ae_title`, or of `own_ae_title` where we call; by default SPHERO.
"""

_ASSOCIATIONS = """\
### 2.3 Associations

| | |
| --- | --- |
| application context | 1.2.840.10008.3.1.1.1 |
| implementation class UID | {implementation} |
| implementation version name | {version} |
| maximum PDU size offered | {pdu} bytes |
| associations at a time, accepted | `max_associations` (16); further ones are rejected for now |
| associations at a time, initiated | 1 for each store, each archive and each answer to a request for commitment |
| asynchronous operations | none |
| roles | as SCU of C-GET we propose the SCP role for each storage class |
| user identity | with `user` set, proposed as username (type 1) or username and passcode (type 2), PS3.7 section D.3.3.7 |
| calling AE titles, addresses | `allowed_ae_titles` and `allowed_addresses`; all where these are empty |
| called AE title | must be ours |

Each class is proposed in each transfer syntax as a presentation context of its own, so that a store sends what it has as it has it.
"""

_QUERY = """\
### 2.4 Query and retrieve

Study Root, hierarchical, without relational queries. Keys that are sent:

| level | matched | returned |
| --- | --- | --- |
| STUDY | ModalitiesInStudy (one value a query), StudyDate (from a date on; empty for any) | StudyInstanceUID, NumberOfStudyRelatedInstances |
| SERIES | StudyInstanceUID | SeriesInstanceUID, Modality |
| IMAGE | StudyInstanceUID, SeriesInstanceUID | SOPInstanceUID, SOPClassUID |

C-GET and C-MOVE ask at level IMAGE for up to 20 instances of one series by a list of UIDs. A store that does not count the instances of a
study is asked for them each time. What a store says about one instance (0xA702, 0xB000, our own refusal of what came) is kept with that
instance, which is tried again after a minute, then ever more seldom, at last once a day; every other failure ends the poll.

"""

_RESULTS = """\
### 2.5 Results

Created and sent to archives, each class in one transfer syntax; nothing is ever recoded:

{emitted}
| | |
| --- | --- |
| UIDs | below 2.25, derived: the same object of the same version has the same UID whenever it is made |
| study | that of the images; of images that came as plain files, one of our own for each case |
| templates | TID 1500 in reports, TID 2010 in Key Object Selections |
| private codes | scheme 99SPHERO, which `[dicom.codes]` replaces by the site's |
| a report that follows another | names it in Predecessor Documents Sequence |
| a result that is no longer valid | Key Object Selection titled 113001 or 113037 (IHE RAD IOCM) |
| storage commitment | asked for after storage; the report is waited for on the same association, then on one that the archive makes to `[dicom.commitment]` |

"""

_WEB = """\
## 3. DICOM web services (user agent)

| service | resources | media types |
| --- | --- | --- |
| QIDO-RS (PS3.18 section 10.6) | /studies?StudyDate=&ModalitiesInStudy=&limit=&offset=, /studies/{{uid}}/series, /studies/{{uid}}/series/{{uid}}/instances | {json} |
| WADO-RS (PS3.18 section 10.4) | /studies/{{uid}}/series/{{uid}}/instances/{{uid}} | {instance} |
| STOW-RS (PS3.18 section 10.5) | POST /studies, one instance a request | multipart/related; type="application/dicom" |

HTTP/1.1 with Basic or Bearer authentication; redirects are not followed. A page shorter than asked for is not taken for the last one:
only an empty page ends a listing. Status 429 and 503 with Retry-After are obeyed.
"""

_REST = """\
## 4. Media storage

Not supported: no DICOMDIR is read or written. Single files of PS3.10 are read where the watched folder holds them.

## 5. Character sets

Every character set of PS3.5 that pydicom decodes is understood in what is read. Queries carry ASCII only.

## 6. Security

TLS 1.2 and 1.3 with the cipher suites of the installed OpenSSL, with certificates in PEM for each section; a server's certificate is always checked,
that of a client where `ca_file` is set. In the clear where `tls` is not set. Logs hold no name, no identifier and no accession number.

## 7. Configuration

Every key with its default: `sphero init` writes them. What a system around us has to know: our AE title, address and port for C-STORE and
C-MOVE; that our AE title may C-FIND, C-GET or C-MOVE.
"""


def statement() -> str:
    """The whole document in Markdown."""
    blocks = [
        _OVERVIEW,
        _table(("network service", "UID", "as user", "as provider"), _services()),
        _ARCHITECTURE,
        "### 2.2 Storage: classes and transfer syntaxes\n",
        _table(("SOP class", "UID", "remark"), _classes()),
        "All of them are accepted in each of these transfer syntaxes:\n",
        _table(("transfer syntax", "UID", "pixels are decoded by"), _syntaxes()),
        "Photometric interpretations: " + ", ".join(COLOUR_SPACES) + ".\n",
        "A C-STORE is answered with:\n",
        _table(("status", "meaning"), [(f"0x{each.value:04X}", _MEANINGS[each]) for each in StoreStatus]),
        _ASSOCIATIONS.format(implementation=IMPLEMENTATION_CLASS_UID, version=IMPLEMENTATION_VERSION, pdu=MAX_PDU),
        _QUERY.rstrip() + "\n",
        _RESULTS.format(emitted=_table(("SOP class", "UID", "transfer syntax"), _emitted())).rstrip() + "\n",
        answers(_table),
        _WEB.format(json=JSON, instance=INSTANCE),
        _REST,
    ]
    return "\n".join(blocks)


def _services() -> Iterable[Sequence[str]]:
    for uid, role in _SCU:
        yield UID(uid).name, uid, "yes", "yes" if "SCP" in role else "no"
    yield "Storage (the classes of 2.2)", "", "by `sphero dicom send`: of any class", "yes"
    yield "Storage (the classes of 2.5)", "", "yes", "no"


def _classes() -> Iterable[Sequence[str]]:
    for uid, name in IMAGE_CLASSES.items():
        yield name, uid, "single levels of moderate size; whole slides are refused" if uid == WHOLE_SLIDE else ""


def _emitted() -> Iterable[Sequence[str]]:
    for uid, syntax in EMITTED:
        name = "Label Map Segmentation Storage" if uid == LABEL_MAP else UID(uid).name  # newer than the dictionary
        yield name, uid, UID(syntax).name


def _syntaxes() -> Iterable[Sequence[str]]:
    for uid, syntax in SYNTAXES.items():
        yield syntax.name, uid, syntax.decoder.value


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
