"""Machines that are network namespaces of Linux behind one bridge, each of which can be cut off; needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from types import TracebackType
from typing import Self

from tests.support import missing_peer

BRIDGE = "sphero0"
NETWORK = "10.213.77"
HERE = f"{NETWORK}.1"


def require_namespaces() -> None:
    """Skip the test on a machine where no network namespace can be made."""
    if os.geteuid() == 0 and shutil.which("ip") and shutil.which("unshare"):
        made = subprocess.run(["ip", "netns", "add", "sphero-probe"], capture_output=True, check=False)
        if made.returncode == 0:
            _ip("netns", "delete", "sphero-probe")
            return
    missing_peer("network namespaces", "run as root with iproute2 and util-linux, outside of an unprivileged container")


class Network:
    """A bridge at `HERE`, with a namespace for each name; removed at the end.

    Parameters
    ----------
    names : sequence of str
        At most seven letters each: they name network devices too.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def __enter__(self) -> Self:
        self._remove()
        try:
            _ip("link", "add", BRIDGE, "type", "bridge")
            _ip("address", "add", f"{HERE}/24", "dev", BRIDGE)
            _ip("link", "set", BRIDGE, "up")
            for number, name in enumerate(self._names, start=11):
                self._join(name, f"{NETWORK}.{number}/24")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def inside(self, name: str) -> list[str]:
        """What a command begins with that runs on a machine, under that host name."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
        return ["ip", "netns", "exec", name, *named]

    def cut(self, name: str) -> None:
        """Let nothing through from or to a machine any more: its cable leads to a dead switch."""
        _ip("link", "set", f"v-{name}", "nomaster")

    def mend(self, name: str) -> None:
        """Let everything through again."""
        _ip("link", "set", f"v-{name}", "master", BRIDGE)

    def _join(self, name: str, address: str) -> None:
        _ip("netns", "add", name)
        _ip("link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"v-{name}", "master", BRIDGE, "up")
        _ip("-n", name, "address", "add", address, "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for command in (*(("netns", "delete", name) for name in self._names), ("link", "delete", BRIDGE)):
            subprocess.run(["ip", *command], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
