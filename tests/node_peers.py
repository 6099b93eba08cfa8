"""Receivers and senders of other makers that run in Node.js; see ``tests/integration/node_peers``."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from integrations.tls import TlsFiles
from tests.support import missing_peer, peer, wait_for

FOLDER = Path(__file__).parent / "integration" / "node_peers"
REMEDY = "apt-get install nodejs npm, then make test"
START_SECONDS = 60.0


class NodePeer:
    """One script in a process of its own, and the lines it says.

    Parameters
    ----------
    script : str
        Its name in the folder.
    arguments : str
    """

    def __init__(self, script: str, *arguments: str) -> None:
        node = peer("Node.js", "node", "nodejs", remedy=REMEDY)
        if not (FOLDER / "node_modules" / ".installed").exists():
            missing_peer("HL7 packages of Node.js", REMEDY)
        self._said: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [node, script, *arguments],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(json.loads(line))

    def said(self, key: str) -> list[Any]:
        """What it said under a key so far."""
        return [line[key] for line in tuple(self._said) if key in line]

    def wait_said(self, key: str, count: int = 1, seconds: float = START_SECONDS) -> list[Any]:
        """Wait until it has said something under a key so often, and give it all."""
        wait_for(
            lambda: len(self.said(key)) >= count or not self._reader.is_alive(),
            seconds,
            what=f"{count} lines with {key!r}",
        )
        assert len(self.said(key)) >= count, f"it ended early, after {self._said}"
        return self.said(key)

    def tell(self, *messages: bytes) -> None:
        """Give messages to a sender; it sends one after the other and ends."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"".join(base64.b64encode(message) + b"\n" for message in messages))
        self._process.stdin.close()


def pem_arguments(files: TlsFiles | None) -> list[str]:
    """Arguments of the scripts for TLS: authority, certificate, key."""
    if files is None:
        return []
    return [str(file) for file in (files.ca_file, files.cert_file, files.key_file)]
