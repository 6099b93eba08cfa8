"""`deploy/prefect.yaml`, written from the deployments that `sphero up` applies.

python -m flows.prefect_yaml > deploy/prefect.yaml
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version

from flows.deployments import DEPLOYED, NAME, WORK_POOL, Deployed, entrypoint

_HEAD = """\
# What `sphero up` deploys, for people who look it up. It is written by `python -m flows.prefect_yaml`, and a test sees to it
# that it is up to date: change flows/deployments.py. Nothing needs to be applied from here. Schedules are in the site's time
# zone ([site] time_zone).
"""


def prefect_yaml() -> str:
    """The whole file."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from _HEAD.splitlines()
    yield "name: spheroflow"
    yield f"prefect-version: {version('prefect')}"
    yield ""
    yield "deployments:"
    for name, deployed in DEPLOYED.items():
        yield f"  # {name}"
        yield from _deployment(deployed)


def _deployment(deployed: Deployed) -> Iterator[str]:
    yield f"  - name: {NAME}"
    yield f"    description: {json.dumps(deployed.description)}"  # a JSON text is a YAML text
    yield f"    entrypoint: {entrypoint(deployed)}"
    yield f"    tags: {json.dumps(list(deployed.tags))}"
    yield "    work_pool:"
    yield f"      name: {WORK_POOL}"
    if deployed.limit is not None:
        yield "    concurrency_limit:"
        yield f"      limit: {deployed.limit}"
        yield "      collision_strategy: CANCEL_NEW"
    if deployed.cron is not None:
        yield "    schedules:"
        yield f"      - cron: {json.dumps(deployed.cron)}"
        yield "        timezone: UTC"
        yield "        active: true"


if __name__ == "__main__":
    sys.stdout.write(prefect_yaml())
