"""`storm evaluate compare`: what changed between runs, and whether it is more than chance."""

import argparse
from pathlib import Path
from typing import Any

from storm_core.cli.arguments import add_json, add_seed
from storm_core.cli.columns import aligned
from storm_core.errors import ConfigError


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("compare", help="results folders against the first: better, worse, chance", description=(
        "Compare runs over the same recording with the first one. The intervals are of the difference of each figure, "
        "from a paired bootstrap over blocks of neighbouring frames."))
    parser.add_argument("runs", metavar="RUN", nargs="+",
                        help="results folders of storm replay, demo or evaluate tracking --out; the first is the "
                             "baseline")
    parser.add_argument("--resamples", type=int, metavar="N", default=2000,
                        help="bootstrap resamples (default: 2000)")
    parser.add_argument("--different-inputs", action="store_true",
                        help="compare runs of different recordings too, without pairing their frames")
    add_seed(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core import __version__
    from storm_core.report.compare import comparison, read_run
    from storm_core.report.results import results_head, write_json

    if len(args.runs) < 2:
        raise ConfigError(f"one run ({args.runs[0]}) cannot be compared; name at least two results folders")
    if args.resamples < 100:
        raise ConfigError(f"--resamples must be at least 100 for a 95 % interval, got {args.resamples}")
    runs = [read_run(Path(folder)) for folder in args.runs]
    results = results_head("evaluate compare", __version__, path=runs[0].path, sha256=runs[0].sha256,
                           frames=len(runs[0].table.ids), seed=args.seed)
    results["comparison"] = comparison(runs, seed=args.seed, resamples=args.resamples,
                                       different_inputs=args.different_inputs)
    if args.json:
        write_json(args.json, results)
    print(_tables(results["comparison"]))
    return 0


def _tables(comparison: dict[str, Any]) -> str:
    parts = []
    for other in comparison["runs"]:
        rows = [("object", "figure", "A", "B", "B - A", "95 % interval", "B is")]
        for d in other["differences"]:
            bounds = "-" if d["ci95"] is None else f"[{d['ci95'][0]:+.4g}, {d['ci95'][1]:+.4g}]"
            rows.append((d["object"], d["figure"], *(_cell(d[k]) for k in ("a", "b")),
                         _cell(d["difference"], signed=True), bounds, d["verdict"]))
        pairing = "paired frames" if other["paired"] else "different inputs, not paired"
        parts.append(f"A = {comparison['baseline']}, B = {other['path']} ({pairing})\n"
                     + aligned(rows, left=(0, 1, 6)))
    return "\n\n".join(parts)


def _cell(value: float, signed: bool = False) -> str:
    if value != value:
        return "-"
    return f"{value:+.4g}" if signed else f"{value:.4g}"
