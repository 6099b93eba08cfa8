"""Real DICOM systems of other makers for tests, started on loopback: Orthanc, and the tools of dcmtk."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from integrations.tls import TlsFiles
from tests.support import free_port, missing_peer, peer, wait_for

START_SECONDS = 30.0
STOP_SECONDS = 15.0
TOOL_SECONDS = 60.0
REST_SECONDS = 30.0
OUR_AE_TITLE = "SPHERO"
USER, PASSWORD = "sphero", "orthanc-for-one-test"


def find_orthanc() -> Path:
    """The program; a machine without it misses the peer ``orthanc``."""
    return peer("orthanc", "Orthanc", "/usr/sbin/Orthanc", remedy="apt-get install orthanc orthanc-dicomweb")


def find_dicomweb() -> Path:
    """Orthanc's DICOMweb plugin; a machine without it misses the peer ``orthanc-dicomweb``."""
    folders = Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc")
    found = [plugin for folder in folders for plugin in sorted(folder.glob("libOrthancDicomWeb.so*"))]
    return found[0] if found else missing_peer("orthanc-dicomweb", "apt-get install orthanc-dicomweb")


def dcmtk(name: str) -> Path:
    """A tool of dcmtk; never the one of the same name that pynetdicom puts into the virtual environment."""
    return peer("dcmtk", f"/usr/bin/{name}", remedy="apt-get install dcmtk")


def run_dcmtk(name: str, *arguments: str | int | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a tool of dcmtk to its end.

    ``storescu -nh`` exits with 0 even where every store failed: look at what it prints, or leave ``-nh`` out.
    """
    command = [str(dcmtk(name)), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TOOL_SECONDS, check=check)


@dataclass(frozen=True, slots=True)
class Modality:
    """An application entity that Orthanc knows.

    Attributes
    ----------
    name : str
        Under which Orthanc knows it.
    commitment : bool
        Whether it may ask Orthanc for storage commitment.
    """

    name: str
    ae_title: str
    port: int
    tls: bool = False
    commitment: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """As Orthanc wants it; it may do everything."""
        allowed = dict.fromkeys(("AllowEcho", "AllowFind", "AllowGet", "AllowMove", "AllowStore"), True)
        return {
            "AET": self.ae_title,
            "Host": "127.0.0.1",
            "Port": self.port,
            "UseDicomTls": self.tls,
            "AllowStorageCommitment": self.commitment,
            **allowed,
        }


def _tls_settings(tls: TlsFiles | None) -> dict[str, Any]:
    if tls is None:
        return {}
    return {
        "DicomTlsEnabled": True,
        "DicomTlsRemoteCertificateRequired": True,
        "DicomTlsCertificate": str(tls.cert_file),
        "DicomTlsPrivateKey": str(tls.key_file),
        "DicomTlsTrustedCertificates": str(tls.ca_file),
    }


class Orthanc:
    """One Orthanc in a temporary folder; leaving the context removes it with what it stores.

    Its own HTTPS is not used: that of Debian 12 (1.10.1) crashes at the first request.

    Parameters
    ----------
    modalities : iterable of Modality
        Whom it knows; `know` adds more while it runs. Others may only C-ECHO and C-STORE.
    settings : mapping or None
        Keys of its configuration that go before those of the tests.
    tls : TlsFiles or None
        Of the DICOM port, with ``ca_file`` for the certificates of others.
    password : bool
        Whether HTTP asks for `USER` and `PASSWORD`.
    """

    def __init__(
        self,
        modalities: Iterable[Modality] = (),
        *,
        settings: Mapping[str, Any] | None = None,
        tls: TlsFiles | None = None,
        password: bool = False,
    ) -> None:
        self._program, plugin = find_orthanc(), find_dicomweb()
        self._root = Path(tempfile.mkdtemp(prefix="sphero-orthanc-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used in the clear, and the default one takes long
        self._auth = (USER, PASSWORD) if password else None
        self.ae_title, self.host = "ORTHANC", "127.0.0.1"
        self.port, self.http_port = free_port(), free_port()
        configuration = {
            "Name": "for one test",
            "StorageDirectory": str(self._root / "store"),
            "IndexDirectory": str(self._root / "store"),
            "TemporaryDirectory": str(self._root),
            "Plugins": [str(plugin)],
            "HttpPort": self.http_port,
            "DicomPort": self.port,
            "DicomAet": self.ae_title,
            "DicomModalities": {each.name: each.settings for each in modalities},
            "AuthenticationEnabled": password,
            "RegisteredUsers": {USER: PASSWORD} if password else {},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "SyncStorageArea": False,  # a power cut is not what these tests look at
            "StableAge": 1,
            "DicomAssociationCloseDelay": 0,
            **_tls_settings(tls),
            **(settings or {}),
        }
        (self._root / "orthanc.json").write_text(json.dumps(configuration))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    # ---------------------------------------------------------------------------------------------------------- process
    def start(self) -> None:
        """Start it (again, on the same ports and with what it stores) and wait until it answers."""
        command = ["setpriv", "--pdeathsig", "TERM", str(self._program), str(self._root / "orthanc.json")]
        with (self._root / "output.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._root)
        wait_for(self._answers, START_SECONDS, what="Orthanc")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            code = self._process and self._process.returncode
            raise RuntimeError(f"Orthanc ended at its start with {code}: {self.log[-2000:]}")
        try:
            return bool(self.rest("GET", "/system")["DicomPort"] == self.port)
        except httpx.TransportError:
            return False

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, or kill it as a crash would; `start` brings it back."""
        if self._process is not None and self._process.poll() is None:
            (self._process.kill if kill else self._process.terminate)()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS)

    def remove(self) -> None:
        """Stop it and remove what it stores."""
        self.stop(kill=True)
        shutil.rmtree(self._root, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it printed."""
        return (self._root / "output.log").read_text(errors="replace")

    # ------------------------------------------------------------------------------------------------------------- REST
    @property
    def url(self) -> str:
        """Root of its own REST interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Root of its DICOMweb service."""
        return f"{self.url}/dicom-web"

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Call Orthanc's own interface; gives what the JSON of the answer says, or its bytes.

        Raises
        ------
        httpx.HTTPStatusError
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        with httpx.Client(auth=self._auth, verify=self._context, timeout=REST_SECONDS, trust_env=False) as client:
            answer = client.request(method, self.url + path, content=None if body is None else content)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.content

    def know(self, modality: Modality) -> None:
        """Let it know an application entity, or know it anew."""
        self.rest("PUT", f"/modalities/{modality.name}", modality.settings)

    def put(self, *files: Path) -> list[str]:
        """Put files into it over HTTP; gives Orthanc's own number of each instance."""
        return [self.rest("POST", "/instances", file.read_bytes())["ID"] for file in files]

    def send(self, modality: str, instances: Iterable[str]) -> dict[str, Any]:
        """Let it C-STORE instances to somebody it knows; waits for the end."""
        return dict(self.rest("POST", f"/modalities/{modality}/store", {"Resources": list(instances), "Timeout": 60}))

    @property
    def sop_uids(self) -> set[str]:
        """The SOP Instance UID of everything it stores."""
        found = self.rest("GET", "/instances?expand")
        return {str(each["MainDicomTags"]["SOPInstanceUID"]) for each in found}

    def file(self, sop_uid: str) -> bytes:
        """The object of this UID as it is stored.

        Raises
        ------
        LookupError
        """
        found = self.rest("POST", "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": sop_uid}})
        if len(found) != 1:
            raise LookupError(f"Orthanc has {len(found)} objects of this UID")
        return bytes(self.rest("GET", f"/instances/{found[0]}/file"))

    def clear(self) -> None:
        """Remove everything it stores."""
        for patient in self.rest("GET", "/patients"):
            self.rest("DELETE", f"/patients/{patient}")


class StoreScp:
    """dcmtk's ``storescp`` in a temporary folder: takes what it is sent, as it is.

    Parameters
    ----------
    options : str
        More of its options.
    """

    def __init__(self, *options: str) -> None:
        self._program, self._options = dcmtk("storescp"), options
        self._root = Path(tempfile.mkdtemp(prefix="sphero-storescp-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.ae_title, self.port = "STORESCP", free_port()

    def __enter__(self) -> Self:
        command = ["setpriv", "--pdeathsig", "TERM", str(self._program), "+B", "-od", str(self._root)]
        command += ["-aet", self.ae_title, *self._options, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(self._answers, START_SECONDS, what="storescp")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _answers(self) -> bool:
        return run_dcmtk("echoscu", "-aec", self.ae_title, "127.0.0.1", self.port, check=False).returncode == 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        shutil.rmtree(self._root, ignore_errors=True)

    @property
    def files(self) -> list[Path]:
        """What came."""
        return sorted(path for path in self._root.iterdir() if path.is_file())
