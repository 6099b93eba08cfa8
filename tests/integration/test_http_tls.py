"""Our own HTTP port under TLS, with and without certificates of those who ask."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from flows.config import check_settings
from flows.errors import SettingsError
from flows.http_server import make_http_server
from integrations.tls import TlsFiles
from tests.certificates import Authority
from tests.support import free_port


@contextmanager
def serving(folder: Path, files: TlsFiles, *, ask: bool) -> Iterator[str]:
    app = FastAPI()
    app.get("/healthz")(lambda: {"status": "ok"})
    http = {"port": free_port(), "tls": True, "cert_file": files.cert_file, "key_file": files.key_file}
    settings = check_settings({"http": http | ({"ca_file": files.ca_file} if ask else {})}, folder)
    server = make_http_server(app, settings.http)
    server.start()
    try:
        yield settings.http_url
    finally:
        server.stop()


def context(files: TlsFiles, *, own: TlsFiles | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(files.ca_file))
    if own is not None:
        made.load_cert_chain(str(own.cert_file), str(own.key_file))
    return made


def ask(url: str, verify: ssl.SSLContext) -> int:
    return httpx.get(f"{url}/healthz", verify=verify, trust_env=False, timeout=30).status_code


def test_it_is_served_under_tls_only(tmp_path: Path) -> None:
    files = Authority(tmp_path).sign("ours")
    with serving(tmp_path, files, ask=False) as url:
        assert url.startswith("https://")
        assert ask(url, context(files)) == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http{url.removeprefix('https')}/healthz", trust_env=False, timeout=30)


def test_with_an_authority_only_those_it_signed_may_ask(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files, friend = authority.sign("ours"), authority.sign("friend")
    stranger = Authority(tmp_path, "other").sign("stranger")
    with serving(tmp_path, files, ask=True) as url:
        assert ask(url, context(files, own=friend)) == 200
        for own in (None, stranger):
            with pytest.raises(httpx.TransportError):
                ask(url, context(files, own=own))


def test_tls_needs_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[http\] cert_file: must be given"):
        check_settings({"http": {"tls": True}}, tmp_path)


def test_behind_a_proxy_pictures_are_shown_by_its_address(tmp_path: Path) -> None:
    assert (
        check_settings({"http": {"public_url": "https://sphero.example.org/"}}, tmp_path).http_url
        == "https://sphero.example.org"
    )
    with pytest.raises(SettingsError, match=r"\[http\] public_url"):
        check_settings({"http": {"public_url": "sphero.example.org"}}, tmp_path)
