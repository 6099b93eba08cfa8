"""Headless Chromium, told what to do over its DevTools protocol: opens a page, waits for a text, takes a picture."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from tests.support import peer, wait_for

WIDTH, HEIGHT = 1500, 1000
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
    f"--window-size={WIDTH},{HEIGHT}",
)


class Browser:
    """One Chromium with a profile of its own and one page."""

    def __init__(self) -> None:
        program = peer("chromium", "chromium", "chromium-browser", "google-chrome", remedy="apt-get install chromium")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._numbers = itertools.count(1)
        self._page: ClientConnection | None = None

    def __enter__(self) -> Self:
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        wait_for(lambda: port_file.exists() and port_file.read_text().count("\n"), 60, what="Chromium")
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as reply:
            (target,) = [target for target in json.load(reply) if target["type"] == "page"]
        self._page = connect(target["webSocketDebuggerUrl"], max_size=None, open_timeout=60, proxy=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._page is not None:
            self._page.close()
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()

    def open(self, url: str, *texts: str, seconds: float = 120.0) -> str:
        """Open a page and wait until it shows all of these texts and every picture is loaded; gives all its text."""
        self._ask("Page.navigate", url=url)
        self.wait(*texts, seconds=seconds)
        return self.text

    def wait(self, *texts: str, seconds: float = 120.0) -> None:
        """Wait until the page shows all of these texts and every picture is loaded."""

        def shows() -> bool:
            return all(text in self.text for text in texts) and bool(
                self.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            )

        wait_for(shows, seconds, what=f"a page with {texts}", every_s=0.3)

    def click(self, text: str) -> None:
        """Click what says just this."""
        clicked = self.run(
            f"(() => {{ const found = [...document.querySelectorAll('li, a, button')]"
            f".filter(item => item.innerText.trim() === {json.dumps(text)}); found.forEach(item => item.click());"
            " return found.length })()"
        )
        assert clicked == 1, f"{clicked} places say {text!r}"

    @property
    def text(self) -> str:
        """What a person can read on the page."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        return self._ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def picture(self, path: Path, height: int = HEIGHT) -> None:
        """Take a picture of the page, as high as said."""
        self._ask("Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        taken = self._ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(taken["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        assert self._page is not None
        number = next(self._numbers)
        self._page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._page.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                found: dict[str, Any] = answer["result"]
                return found
