"""`storm bench`: what STORM achieves on this machine, some of it beside other implementations. One module per WHAT."""

import argparse

from storm_core.cli.bench import metrics, refiner, ros, tracking

KINDS = (tracking, metrics, refiner, ros)
"""Modules with add_parser(kinds)."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("bench", help="time STORM, alone or beside another implementation", description=(
        "Run STORM's code beside other implementations of the same, in one run on one machine; or the nodes."))
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    for kind in KINDS:
        kind.add_parser(kinds)
