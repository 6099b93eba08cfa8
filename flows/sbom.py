"""The bill of materials of what a lock installs: CycloneDX 1.5 as JSON.

Read from the lock alone, so that the same lock gives the same document wherever it is made; licences are added for packages that
are installed here. Hashes are those that the installer compares, one for each file that may be installed.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from flows.errors import FlowsError

SHIPPED_LOCK = Path(__file__).resolve().parent.parent / "deploy" / "requirements" / "service.txt"
_PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[0-9][^ ;]*)")
_HASH = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")
_NAMESPACE = uuid.UUID("7f8d3a5e-6c1b-5a37-9d0e-52f0c7b1a4d2")


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock.

    Attributes
    ----------
    hashes : tuple of str
        SHA-256 of its files, hex.
    """

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its package URL: https://github.com/package-url/purl-spec."""
        return f"pkg:pypi/{self.name}@{self.version}"


def read_lock(text: str) -> tuple[Locked, ...]:
    """The packages of a lock with hashes, in its order.

    Raises
    ------
    FlowsError
        It is no lock, or a package has no hash.
    """
    found = tuple(_packages(text))
    bare = [each.name for each in found if not each.hashes]
    if not found or bare:
        raise FlowsError(f"the lock has no hashes ({', '.join(bare[:3]) or 'no packages'}); `make lock` writes one")
    return found


def _packages(text: str) -> Iterator[Locked]:
    name, version, hashes = "", "", list[str]()
    for line in text.splitlines():
        if pin := _PIN.match(line):
            if name:
                yield Locked(name, version, tuple(hashes))
            name, version, hashes = pin["name"], pin["version"], []
        hashes += _HASH.findall(line)
    if name:
        yield Locked(name, version, tuple(hashes))


def bill_of_materials(
    lock: str, version: str, *, licence: Callable[[str, str], str | None] = lambda _name, _version: None
) -> dict[str, Any]:
    """The bill of materials of a lock.

    Parameters
    ----------
    lock : str
        Text of the lock.
    version : str
        Of the program.
    licence : callable
        ``(name, version)`` to a licence in words, None where it is not known.

    Returns
    -------
    dict
        CycloneDX 1.5, https://cyclonedx.org/docs/1.5/json/.

    Raises
    ------
    FlowsError
    """
    packages = read_lock(lock)
    ours = f"pkg:generic/spheroflow@{version}"
    serial = uuid.uuid5(_NAMESPACE, hashlib.sha256(lock.encode()).hexdigest() + version)
    program = {"type": "application", "bom-ref": ours, "name": "spheroflow", "version": version, "purl": ours}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {**program, "licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": [_component(each, licence(each.name, each.version)) for each in packages],
        "dependencies": [{"ref": ours, "dependsOn": [each.purl for each in packages]}],
    }


def _component(package: Locked, licence: str | None) -> dict[str, Any]:
    """A package; as its files differ by platform, each is a reference of its own with its hash."""
    files = [
        {
            "type": "distribution",
            "url": f"{package.purl}#sha256:{digest}",
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
        for digest in package.hashes
    ]
    known = {} if licence is None else {"licenses": [{"license": {"name": licence}}]}
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        **known,
        "externalReferences": files,
    }


def installed_licence(name: str, version: str) -> str | None:
    """The licence that the installed package of this version tells of itself, in a line."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    if about["Version"] != version:
        return None
    classifiers = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if "License ::" in line]
    told = next((text for key in ("License-Expression", "License") for text in about.get_all(key) or []), "")
    told = "; ".join(classifiers) or told if "License-Expression" not in about else told
    return " ".join(told.split())[:100] or None
