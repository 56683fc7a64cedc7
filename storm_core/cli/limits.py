"""`--fail-under` and `--fail-over`: figures that a run in continuous integration must reach."""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from storm_core.errors import ConfigError


class Limit(NamedTuple):
    """A bound on every figure whose dotted path ends with `key`; `*` stands for any one part."""

    key: str
    bound: float
    option: str

    def broken_by(self, value: Any) -> bool:
        """Missing figures break every limit."""
        if not isinstance(value, (int, float)) or value != value:
            return True
        return value < self.bound if self.option == UNDER else value > self.bound


UNDER, OVER = "--fail-under", "--fail-over"


def add_limits(parser: argparse.ArgumentParser) -> None:
    """--fail-under KEY=VALUE and --fail-over KEY=VALUE."""
    for option, what in ((UNDER, "below"), (OVER, "above")):
        parser.add_argument(option, action="append", metavar="KEY=VALUE", default=[], type=_pair, help=(
            f"exit with status 1 when a figure of the results is {what} this or missing, e.g. "
            f"{'add_auc=0.9' if option == UNDER else 'confidently_wrong=0.01'} for every object or "
            f"{'objects.cup.add_auc=0.9' if option == UNDER else 'stages_ms.track.p95=10'} for one; may be repeated"))


def within_limits(args: argparse.Namespace, results: Mapping[str, Any]) -> int:
    """Exit status 0, or 1 after one line on stderr for each broken limit."""
    limits = [Limit(*pair, UNDER) for pair in args.fail_under] + [Limit(*pair, OVER) for pair in args.fail_over]
    problems = broken(limits, results)
    for problem in problems:
        print(f"storm: error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def broken(limits: Sequence[Limit], results: Mapping[str, Any]) -> list[str]:
    """One sentence per broken limit.

    Raises:
      ConfigError: no figure has such a key (names those that come close).
    """
    figures = dict(_flat(results))
    out = []
    for limit in limits:
        wanted = limit.key.split(".")
        found = {key: value for key, value in figures.items() if _ends_with(key.split("."), wanted)}
        if not found:
            close = sorted({key for key in figures if wanted[-1] in key})[:8]
            raise ConfigError(f"{limit.option} {limit.key}: the results have no such figure"
                              + (f"; do you mean {', '.join(close)}?" if close else ""))
        relation = "below" if limit.option == UNDER else "above"
        for key, value in found.items():
            if limit.broken_by(value):
                missing = not isinstance(value, (int, float)) or value != value
                out.append(f"{key} is " + ("missing" if missing else f"{value:g}, {relation} {limit.bound:g}"))
    return out


def _pair(text: str) -> tuple[str, float]:
    key, equals, value = text.partition("=")
    try:
        if key and equals and not math.isnan(float(value)):  # nothing is below or above nan
            return key, float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not KEY=NUMBER, such as add_auc=0.9")


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float | None]]:
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(inner, Mapping):
            yield from _flat(inner, here)
        elif inner is None or isinstance(inner, (int, float)):  # not texts, intervals and curves
            yield here, inner


def _ends_with(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(parts) >= len(wanted) and all(w in ("*", p) for p, w in zip(parts[-len(wanted):], wanted, strict=True))
