"""How often the 95 % interval of a case holds the known percentage, with fields that differ; prints the table of deploy/docs/statistics.md.

    python -m tests.interval_coverage [--draws 1000]

Each field has its own share, drawn from a beta distribution with the known mean and a given correlation of two cells of one field, and about 60
red cells (Poisson).
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

from sphero_core.interval import field_interval

PERCENTS = (2.0, 5.0, 10.0, 30.0)
CORRELATIONS = (0.0, 0.01, 0.05, 0.1)
FIELDS = (1, 2, 3, 5, 10, 20, 30)
CELLS = 60


def coverage(percent: float, correlation: float, fields: int, draws: int, seed: int) -> float:
    """Share of the draws whose interval holds the known percentage."""
    rng = np.random.default_rng(seed)
    share, held = percent / 100, 0
    for _ in range(draws):
        cells = np.maximum(1, rng.poisson(CELLS, fields))
        shares: NDArray[np.float64] = np.full(fields, share)
        if correlation > 0:
            weight = (1 - correlation) / correlation
            shares = rng.beta(share * weight, (1 - share) * weight, fields)
        low, high = field_interval(rng.binomial(cells, shares).tolist(), cells.tolist())
        held += low <= share <= high
    return held / draws


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.interval_coverage", description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args(arguments).draws
    print("| fields | " + " | ".join(f"{percent:g} %" for percent in PERCENTS) + " |")
    print("| --- |" + " --- |" * len(PERCENTS))
    for number, fields in enumerate(FIELDS):
        cells = []
        for place, percent in enumerate(PERCENTS):
            seeds = range(1000 * number + 10 * place, 1000 * number + 10 * place + len(CORRELATIONS))
            shares = [
                coverage(percent, each, fields, draws, seed) for each, seed in zip(CORRELATIONS, seeds, strict=True)
            ]
            cells.append(" / ".join(f"{share:.1%}" for share in shares))
        print(f"| {fields} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
