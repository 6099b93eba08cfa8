"""Ratios that must hold, each measured beside what it is compared with, in one run on one machine.

`make bench` runs every module ``bench_*.py`` of this folder; each gives its rows by ``measure() -> list[Row]``.
"""
