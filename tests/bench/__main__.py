"""Run the benchmarks: ``python -m tests.bench [NAME...] [--json FILE]``; a name is that of a module without ``bench_``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from tests.bench.table import Row, as_text

FOLDER = Path(__file__).parent
LONG = ("backlog", "workers")
"""Measured only where they are named: each takes ten minutes or more."""


def main(arguments: list[str] | None = None) -> int:
    """Run the named benchmarks, or all; 1 when a ratio is over its limit."""
    known = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of: {', '.join(known)}; by default all but {' and '.join(LONG)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    rows: list[Row] = []
    for name in options.names or [name for name in known if name not in LONG]:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"tests.bench.bench_{name}").measure()
    print(as_text(rows))
    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )
    if options.json:
        figures = [{**asdict(row), "ratio": row.ratio, "holds": row.holds} for row in rows]
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
