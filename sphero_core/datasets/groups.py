"""What must never be split: the group of an image, be it a patient, a smear or a block of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Numbers in a block: neighbouring numbers come from one smear.
BLOCK = 10


def number_of(name: str) -> float:
    """The first number in a name, infinity where there is none; for sorting."""
    digits = re.search(r"\d+", name)
    return int(digits.group()) if digits else float("inf")


def block_of(name: str) -> str:
    """The block of ten numbers that a name's number lies in, ``block_012`` for 120 to 129; the name where there is none."""
    digits = re.search(r"\d+", name)
    return f"block_{int(digits.group()) // BLOCK:03d}" if digits else name


def source_of(name: str) -> str:
    """The image that an exported one was made of: Roboflow writes ``NAME_jpg.rf.HASH.jpg``, several where it augments."""
    return re.split(r"\.rf\.[0-9a-fA-F]+", name)[0]


def join_groups(shared: Iterable[Sequence[str]]) -> dict[str, str]:
    """Join groups that share an image.

    Parameters
    ----------
    shared : iterable of sequences of str
        For each image the groups it lies in.

    Returns
    -------
    dict
        For each group the first by name of those it is joined with, often itself.
    """
    first: dict[str, str] = {}

    def root(group: str) -> str:
        while first.setdefault(group, group) != group:
            group = first[group]
        return group

    for groups in shared:
        lowest, *others = sorted({root(group) for group in groups})
        for other in others:
            first[other] = lowest
    return {group: root(group) for group in tuple(first)}
