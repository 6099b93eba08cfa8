"""DICOMweb over HTTPS: a real Orthanc behind TLS, which both sides' certificates must open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from db.session import Database
from integrations.dicom.dicomweb import WebService
from integrations.dicom.part10 import split_file
from integrations.dicom.storing import FrozenObject, StoreOutcome
from integrations.dicom.stow import StowClient
from integrations.errors import PeerUnavailable
from integrations.tls import TlsFiles
from tests.certificates import Authority
from tests.dicom_objects import Specimen, write_study
from tests.dicom_peers import Orthanc
from tests.dicom_stores import TODAY, Site, web_store
from tests.tls_front import tls_front

SPECIMEN = Specimen(taken=TODAY)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def url(orthanc: Orthanc, authority: Authority) -> Iterator[str]:
    with tls_front(authority.sign("front"), orthanc.host, orthanc.http_port) as port:
        yield f"https://127.0.0.1:{port}/dicom-web"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'sphero.db'}") as database:
        database.upgrade()
        yield database


def store_of(orthanc: Orthanc, url: str, files: TlsFiles) -> dict[str, Any]:
    names = ("ca_file", "cert_file", "key_file")
    return {**web_store(orthanc), "url": url, **{name: str(getattr(files, name)) for name in names}}


def test_a_store_behind_tls_gives_what_it_has(
    orthanc: Orthanc, url: str, authority: Authority, database: Database, tmp_path: Path
) -> None:
    (file,) = write_study(tmp_path / "study", specimen=SPECIMEN, objects=1, width=64, height=64)
    orthanc.put(file)
    site = Site(tmp_path, database, {"store": [store_of(orthanc, url, authority.sign("ours"))]})
    assert site.poll().fetched == 1
    assert site.uids == [str(dcmread(file).SOPInstanceUID)]


def test_an_archive_behind_tls_takes_what_is_sent(
    orthanc: Orthanc, url: str, authority: Authority, tmp_path: Path
) -> None:
    (file,) = write_study(tmp_path / "study", specimen=SPECIMEN, objects=1, width=64, height=64)
    sent = split_file(file.read_bytes())
    uids = (sent.sop_class_uid, sent.sop_instance_uid, sent.transfer_syntax_uid)
    client = StowClient(WebService(url, 3.0, 20.0, authority.sign("ours")))
    assert client.probe() is None
    assert client.send(FrozenObject(file, *uids, file.stat().st_size)).outcome is StoreOutcome.ACCEPTED
    client.close()
    assert orthanc.sop_uids == {sent.sop_instance_uid}


def test_without_the_right_certificates_nothing_goes_either_way(
    orthanc: Orthanc, url: str, authority: Authority, database: Database, tmp_path: Path
) -> None:
    (file,) = write_study(tmp_path / "study", specimen=SPECIMEN, objects=1, width=64, height=64)
    ours, other = authority.sign("ours"), Authority(tmp_path, "other")
    distrusting = TlsFiles(other.file, ours.cert_file, ours.key_file)
    unknown = other.sign("unknown")
    stranger = TlsFiles(ours.ca_file, unknown.cert_file, unknown.key_file)
    for files, told in ((distrusting, "not signed by an authority"), (stranger, "https:")):
        client = StowClient(WebService(url, 3.0, 20.0, files))
        answer = client.send(FrozenObject(file, "1.2", "1.3", "1.2.840.10008.1.2.1", file.stat().st_size))
        client.close()
        # In TLS 1.3 our certificate is refused only after we may have begun to send.
        assert answer.outcome in (
            (StoreOutcome.NOT_SENT, StoreOutcome.UNKNOWN) if files is stranger else (StoreOutcome.NOT_SENT,)
        )
        site = Site(tmp_path, database, {"store": [store_of(orthanc, url, files)]})
        with pytest.raises(PeerUnavailable, match=told):
            site.poll()
    assert orthanc.sop_uids == set()
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url.replace("https", "http") + "/studies", trust_env=False)  # in the clear nobody answers there
