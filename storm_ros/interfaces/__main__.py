"""`python -m storm_ros.interfaces`: build the missing message packages into this Python environment."""

import argparse
import sys

from storm_core.errors import StormError
from storm_ros.interfaces import PACKAGES
from storm_ros.interfaces.build import build_missing


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m storm_ros.interfaces", description=(
        f"Build {', '.join(PACKAGES)} into this Python environment, once; does nothing where they are importable."))
    parser.add_argument("--jobs", type=int, default=None, metavar="N", help="compiler processes (default: all cores)")
    args = parser.parse_args()
    try:
        built = build_missing(lambda line: print(line, flush=True), args.jobs)
    except StormError as error:
        print(f"storm: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("storm: error: interrupted; nothing half-built was left behind", file=sys.stderr)
        return 1
    print(f"built {', '.join(built)}" if built else "all message types are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
