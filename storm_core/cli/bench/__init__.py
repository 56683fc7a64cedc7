"""`storm bench`: our code beside other implementations, in the same run on the same machine. One module per WHAT."""

import argparse

from storm_core.cli.bench import metrics, refiner, tracking

KINDS = (tracking, metrics, refiner)
"""Modules with add_parser(kinds)."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("bench", help="time STORM beside another implementation", description=(
        "Run STORM's code beside other implementations of the same, in one run on one machine."))
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    for kind in KINDS:
        kind.add_parser(kinds)
