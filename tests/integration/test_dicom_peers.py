"""The real peers do what tests of DICOM rest on."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydicom import dcmread

from tests.certificates import Authority
from tests.dicom_objects import Kind, Specimen, make_object, smear, write_object, write_study
from tests.dicom_peers import OUR_AE_TITLE, Modality, Orthanc, StoreScp, run_dcmtk
from tests.support import free_port


def test_what_a_scanner_stores_is_found_and_sent_on(orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_study(tmp_path, specimen=Specimen(taken=date(2026, 11, 1)), objects=2)
    run_dcmtk("storescu", "-aec", orthanc.ae_title, orthanc.host, orthanc.port, *files)
    uids = {dcmread(file).SOPInstanceUID for file in files}
    assert orthanc.sop_uids == uids
    found = run_dcmtk(
        "findscu", "-S", "-aet", OUR_AE_TITLE, "-aec", orthanc.ae_title, orthanc.host, orthanc.port,
        "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyDate=20261101-", "-k", "StudyInstanceUID",
    )  # fmt: skip
    assert Specimen().study_uid in found.stderr + found.stdout
    with StoreScp() as receiver:
        orthanc.know(Modality("receiver", receiver.ae_title, receiver.port))
        sent = orthanc.send("receiver", orthanc.rest("GET", "/instances"))
        assert sent["InstancesCount"] == 2
        assert {dcmread(file).SOPInstanceUID for file in receiver.files} == uids


def test_what_is_put_over_http_comes_back_byte_by_byte(orthanc: Orthanc, tmp_path: Path) -> None:
    file = write_object(tmp_path / "a.dcm", make_object(smear(1), kind=Kind.SECONDARY_CAPTURE))
    orthanc.put(file)
    assert orthanc.file(dcmread(file).SOPInstanceUID) == file.read_bytes()
    orthanc.clear()
    assert orthanc.sop_uids == set()


def test_a_killed_orthanc_comes_back_with_what_it_stores(tmp_path: Path) -> None:
    with Orthanc(password=True) as server:
        server.put(*write_study(tmp_path, objects=1))
        kept = server.sop_uids
        server.stop(kill=True)
        server.start()
        assert server.sop_uids == kept != set()


def test_orthanc_under_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files, ours = authority.sign("orthanc"), authority.sign("ours")
    with Orthanc([Modality("sphero", OUR_AE_TITLE, free_port(), tls=True)], tls=files) as server:
        assert server.rest("GET", "/modalities") == ["sphero"]
        tls = ["+tls", str(ours.key_file), str(ours.cert_file), "+cf", str(ours.ca_file)]
        assert run_dcmtk("echoscu", *tls, server.host, server.port).returncode == 0
        assert run_dcmtk("echoscu", server.host, server.port, check=False).returncode != 0
