"""`storm <command> …`. Each command is one module of this package; only the one that is asked for is imported."""

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from storm_core import __version__
from storm_core.errors import StormError

COMMANDS = {
    "demo": "render a recording, run it through the real nodes, evaluate and show it",
    "up": "start the ROS 2 nodes",
    "onboard": "prepare meshes: checks, templates and reference views, kept by content",
    "track": "run the tracker alone over a recording and evaluate it",
    "replay": "run a recording through the pipeline and evaluate it",
    "segment": "find and segment objects in single pictures",
    "register": "find the pose of objects in single pictures",
    "refine": "turn a pose into a distribution with the score model",
    "evaluate": "score masks, poses or tracks against ground truth",
    "simulate": "render a recording with known truth",
    "render": "render reference views of meshes",
    "describe": "describe objects in keywords with a vision-language model",
    "weights": "list, fetch and verify learned weights",
    "train": "fit learned parts on simulated scenes",
    "bench": "run STORM beside other implementations",
    "doctor": "say what is missing on this machine and what to do",
}
"""Names and one line of help; the module of the same name provides add_parser(subparsers) and run(args)."""

OK, PROBLEM, USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a named problem (one line on stderr), 2 wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in arguments
    arguments = [argument for argument in arguments if argument != "--verbose"]
    try:
        args = _parser(arguments).parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING,
                        format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("matplotlib", "numba", "PIL", "trimesh"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return int(args.run(args))
    except StormError as error:
        return _problem(str(error), verbose)
    except KeyboardInterrupt as stop:
        return _problem(str(stop) or "interrupted; unfinished output was removed", verbose)
    except BrokenPipeError:
        # The reader of our output went away; what is still buffered must not fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PROBLEM
    except Exception as error:
        traceback.print_exc()
        return _problem(f"this is a bug in STORM, please report it with the text above ({type(error).__name__}: "
                        f"{error})", verbose=False)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the full options of the command in `arguments` and one line for each other command."""
    parser = argparse.ArgumentParser(prog="storm", description=(
        "Find, register, track and watch objects in RGB-D images from their CAD models."),
        epilog="Exit status: 0 done, 1 a named problem, 2 wrong usage. --verbose adds tracebacks and debug messages.")
    parser.add_argument("--version", action="version", version=f"storm {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, line in COMMANDS.items():
        if name == wanted:
            importlib.import_module(f"storm_core.cli.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=line, add_help=False)
    return parser


def _problem(text: str, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"storm: error: {' '.join(text.split())}", file=sys.stderr)
    return PROBLEM


if __name__ == "__main__":
    sys.exit(main())
