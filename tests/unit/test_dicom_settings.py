"""Settings of receiver, stores and archives: what is wrong is named with what is allowed; no secret stands in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.cli.init import TEMPLATE
from flows.config import check_settings
from flows.dicom_settings import ArchiveSettings, StoreSettings
from flows.errors import SettingsError

WEB = {"name": "a", "kind": "dicomweb", "url": "https://pacs.example/dicom-web/"}
DIMSE = {"name": "a", "kind": "dimse", "host": "h", "port": 104, "ae_title": "PACS"}
PLAIN = {**WEB, "url": "http://pacs.example/dicom-web"}


def without(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


@pytest.mark.parametrize(
    ("dicom", "told"),
    [
        ({"receiver": {"prt": 3}}, "[dicom.receiver] prt: there is no such key; did you mean port?"),
        ({"receiver": {"ae_title": "A" * 17}}, "[dicom.receiver] ae_title: must be an AE title: 1 to 16 characters"),
        ({"receiver": {"ae_title": "MÜNCHEN"}}, "[dicom.receiver] ae_title: must be an AE title: ASCII"),
        ({"receiver": {"allowed_ae_titles": ["A\\B"]}}, "[[dicom.receiver]] allowed_ae_titles: must be an AE title"),
        ({"receiver": {"tls": True}}, "[dicom.receiver] cert_file: must be given: a TLS listener needs"),
        ({"store": [without(WEB, "kind")]}, "[[dicom.store]] kind: must be given"),
        ({"store": [{**WEB, "kind": "wado"}]}, "[[dicom.store]] kind: must be one of 'dicomweb', 'dimse'"),
        ({"store": [without(WEB, "url")]}, '[[dicom.store]] url: must be given where kind is "dicomweb"'),
        ({"store": [{**WEB, "port": 104}]}, '[[dicom.store]] port: is not for kind = "dicomweb"'),
        ({"store": [without(DIMSE, "ae_title")]}, '[[dicom.store]] ae_title: must be given where kind is "dimse"'),
        ({"store": [{**DIMSE, "url": "http://x"}]}, '[[dicom.store]] url: is not for kind = "dimse"'),
        ({"store": [{**WEB, "url": "pacs.example"}]}, "[[dicom.store]] url: must be the root of a DICOMweb service"),
        ({"store": [{**WEB, "url": "http://u:hunter2@p"}]}, "[[dicom.store]] url: must not hold a user or a password"),
        ({"store": [{**PLAIN, "tls": True}]}, "[[dicom.store]] url: must begin with https:// where tls = true"),
        ({"store": [{**WEB, "tls": False}]}, "[[dicom.store]] url: begins with https, but tls = false"),
        ({"store": [{**PLAIN, "ca_file": "f"}]}, "[[dicom.store]] ca_file: is given, but tls is not"),
        ({"store": [{**WEB, "retrieve": "c-get"}]}, "[[dicom.store]] retrieve: must be one of 'wado' where kind is"),
        ({"store": [{**DIMSE, "retrieve": "wado"}]}, "[[dicom.store]] retrieve: must be one of 'c-get', 'c-move'"),
        ({"store": [{**DIMSE, "retrieve": "c-move"}]}, "set [dicom.receiver] enabled = true"),
        ({"store": [{**WEB, "password_file": "f"}]}, "[[dicom.store]] password_file: is given without user"),
        ({"store": [{**WEB, "password": "hunter2"}]}, "[[dicom.store]] password: there is no such key; did you mean"),
        ({"store": [{**DIMSE, "token_file": "f"}]}, '[[dicom.store]] token_file: is not for kind = "dimse"'),
        ({"store": [{**WEB, "modalities": ["gm"]}]}, "[[dicom.store]] modalities: string should match pattern"),
        ({"store": [{**WEB, "sop_classes": ["1.02"]}]}, "[[dicom.store]] sop_classes: must be a UID"),
        ({"store": [WEB, DIMSE]}, "[[dicom.store]] name: 'a' stands twice; give each store its own name"),
        ({"archive": [{**WEB, "objects": ["pdf"]}]}, "[[dicom.archive]] objects: must be one of 'ann', 'sr', 'seg'"),
        ({"archive": [{**WEB, "commitment": True}]}, '[[dicom.archive]] commitment: is not for kind = "dicomweb"'),
        (
            {"archive": [{**DIMSE, "commitment": True, "own_ae_title": "OTHER"}]},
            "[dicom] commitment: archive a is asked as OTHER and answers to that title",
        ),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(dicom: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings({"dicom": dicom}, Path("/site"))
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_archive_may_not_bear_the_name_of_another_receiver_of_results() -> None:
    lis = {"destination": [{"name": "a", "host": "h", "port": 1}]}
    with pytest.raises(SettingsError, match=r"\[\[dicom.archive\]\] name: 'a' is an \[\[hl7.destination\]\] too"):
        check_settings({"hl7": lis, "dicom": {"archive": [DIMSE]}}, Path("/site"))


def test_what_is_not_said_follows_from_the_kind() -> None:
    dicom = check_settings({"dicom": {"store": [WEB, {**DIMSE, "name": "b"}]}}, Path("/site")).dicom
    web, dimse = dicom.store
    assert (web.retrieve, web.tls, web.url) == ("wado", True, "https://pacs.example/dicom-web")
    assert (dimse.retrieve, dimse.tls, dimse.address) == ("c-get", False, "PACS at h:104")


def test_files_of_secrets_are_meant_from_the_folder_of_the_file() -> None:
    store = {**WEB, "user": "u", "password_file": "secrets/pacs", "ca_file": "ca.pem"}
    found = check_settings({"dicom": {"store": [store]}}, Path("/site")).dicom.store[0]
    assert (found.password_file, found.ca_file) == (Path("/site/secrets/pacs"), Path("/site/ca.pem"))


@pytest.mark.parametrize("kind", [StoreSettings, ArchiveSettings])
def test_the_file_that_init_writes_names_every_key_of_a_peer(kind: type[StoreSettings]) -> None:
    commented = "\n".join(line.removeprefix("# ") for line in TEMPLATE.splitlines())
    assert [key for key in kind.model_fields if f"\n{key} = " not in commented] == []
