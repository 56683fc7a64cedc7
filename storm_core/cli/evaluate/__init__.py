"""`storm evaluate`: score predictions of STORM, or of anything else, against ground truth. One module per WHAT."""

import argparse

from storm_core.cli.evaluate import (
    compare,
    masks,
    monitor,
    poses,
    refinement,
    refiner,
    registration,
    score,
    system,
    tracking,
)

KINDS = (poses, tracking, registration, system, masks, monitor, score, refinement, refiner, compare)
"""Modules with add_parser(kinds)."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("evaluate", help="score masks, poses or tracks against ground truth", description=(
        "Score predictions against ground truth. A target without a prediction counts as a failure."))
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    for kind in KINDS:
        kind.add_parser(kinds)
