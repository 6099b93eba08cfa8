"""A LIS of another maker in a process of its own: python-hl7's asyncio server.

`python -m tests.lis_process PORT FILE HOST` prints its port (0: one that is free), acknowledges everything, and keeps each
message as it came in FILE: four bytes of length, then the message. What is in FILE was received before it was answered.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import IncompleteReadError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hl7.mllp

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 8 * 1024 * 1024


@contextmanager
def lis_process(kept: Path | None = None, port: int = 0, host: str = "127.0.0.1") -> Iterator[int]:
    """Run the receiver; gives its port."""
    command = [sys.executable, "-m", "tests.lis_process", str(port), str(kept or ""), host]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGKILL)


def received(kept: Path) -> list[bytes]:
    """The messages that a receiver kept, in order; a last one that was cut short is left out."""
    data, messages, place = kept.read_bytes(), [], 0
    while place + 4 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if place + 4 + size > len(data):
            break
        messages.append(data[place + 4 : place + 4 + size])
        place += 4 + size
    return messages


async def serve(port: int, kept: Path | None, host: str) -> None:
    """Receive until the process ends."""
    file = kept.open("ab", buffering=0) if kept else None

    async def session(reader: Any, writer: Any) -> None:
        try:
            while True:
                block = await reader.readblock()
                if file is not None:
                    file.write(len(block).to_bytes(4, "big") + block)
                writer.writemessage(hl7.parse(block.decode()).create_ack("AA"))
                await writer.drain()
        except (IncompleteReadError, ConnectionError):
            writer.close()

    server = await hl7.mllp.start_hl7_server(session, host, port, encoding="utf-8", limit=LIMIT)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  # whoever started it reads the port
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None, sys.argv[3]))
