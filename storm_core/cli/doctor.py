"""`storm doctor`: one line for each thing STORM needs or could use on this machine, with the remedy when it lacks."""

import argparse
import importlib.util
import json
import os
from collections.abc import Mapping

from storm_core import __version__
from storm_core.cli.arguments import add_json
from storm_core.cli.health import OPTIONAL, Check, machine_checks, this_machine
from storm_core.report.atomic import whole_file

_SIGNS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("doctor", help="say what is missing on this machine and what to do", description=(
        "Check this machine: Python, packages, compilers, GPU, ROS messages, DDS settings. Exit status 0 when STORM "
        "can run (warnings make it slower or worse), 1 when a problem prevents it."))
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    checks = all_checks(os.environ)
    print(as_text(checks))
    usable = all(check.status != "problem" for check in checks.values())
    if args.json:
        numbers = {"command": "doctor", "version": __version__, "usable": usable,
                   "checks": {name: check._asdict() for name, check in checks.items()}}
        with whole_file(args.json) as path:
            path.write_text(json.dumps(numbers, indent=1) + "\n")
    return 0 if usable else 1


def all_checks(env: Mapping[str, str]) -> dict[str, Check]:
    """Every check by title, those of the nodes last."""
    from storm_ros.checks import ros_checks

    importable = {name: importlib.util.find_spec(name) is not None for name in OPTIONAL}
    return machine_checks(this_machine(env), importable) | ros_checks(env)


def as_text(checks: Mapping[str, Check]) -> str:
    """One line for each check, its remedy below, and a conclusion."""
    width = max(len(name) for name in checks)
    lines = []
    for name, check in checks.items():
        lines.append(f"{_SIGNS[check.status]}  {name:{width}}  {check.text}")
        if check.remedy:
            lines.append(f"{'':7}  {'':{width}}  -> {check.remedy}")
    problems = [name for name, check in checks.items() if check.status == "problem"]
    lines.append(f"STORM cannot run yet: {', '.join(problems)}" if problems else "STORM can run on this machine")
    return "\n".join(lines)
