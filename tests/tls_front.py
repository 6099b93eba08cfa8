"""TLS in front of a server of another maker, as a hospital's proxy is: connections are deciphered and passed on as they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from integrations.tls import TlsFiles

START_SECONDS = 20.0
_CHUNK = 1 << 16


@contextmanager
def tls_front(files: TlsFiles, host: str, port: int) -> Iterator[int]:
    """Serve TLS on loopback before a server; gives the port. With ``ca_file`` clients need a certificate.

    Parameters
    ----------
    files : TlsFiles
        Of the front.
    host, port
        Of the server behind it, in the clear.
    """
    ready, ports = threading.Event(), []
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(_pass(reader, behind_writer), _pass(behind_reader, writer), return_exceptions=True)

    async def serve() -> None:
        server = await asyncio.start_server(passed_on, "127.0.0.1", 0, ssl=files.server_context())
        async with server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await over.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        for task in asyncio.all_tasks(loop):  # connections that a client keeps open
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))

    thread = threading.Thread(target=run, name="tls front", daemon=True)
    thread.start()
    try:
        assert ready.wait(START_SECONDS)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(START_SECONDS)
        loop.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
