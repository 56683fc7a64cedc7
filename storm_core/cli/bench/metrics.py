"""`storm bench metrics`: BOP's pose errors beside bop_toolkit."""

import argparse
from pathlib import Path
from typing import Any

from storm_core.cli.arguments import add_json, add_seed
from storm_core.cli.columns import aligned
from storm_core.cli.limits import add_limits, within_limits
from storm_core.errors import ConfigError

_EVALUATION = ("mssd", "mspd", "vsd_with_rendering")
"""What an evaluation by the rules of BOP computes."""
_UNITS = {"mssd": "mm", "mspd": "px", "vsd": "", "vsd_with_rendering": ""}


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    metrics = kinds.add_parser("metrics", help="BOP's pose errors beside bop_toolkit", description=(
        "VSD, MSSD and MSPD of the same estimates beside bop_toolkit, in turns in one run. Both get the same "
        "renderings for `vsd`; for `vsd_with_rendering` both draw with STORM's rasteriser, since the toolkit's own "
        "renderers need a display."))
    metrics.add_argument("--bop-toolkit", metavar="DIR", required=True,
                         help="checkout of https://github.com/thodan/bop_toolkit; nothing of it is installed")
    metrics.add_argument("--count", type=int, metavar="N", default=200, help="number of estimates (default: 200)")
    metrics.add_argument("--repeats", type=int, metavar="N", default=3,
                         help="the shortest of so many times counts, for both (default: 3)")
    add_seed(metrics)
    add_json(metrics)
    add_limits(metrics)
    metrics.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.evaluation.metric_benchmark import load_toolkit, make_samples, milliseconds, ours, theirs
    from storm_core.report.results import results_head, write_json

    for name in ("count", "repeats"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, got {getattr(args, name)}")
    toolkit = load_toolkit(Path(args.bop_toolkit))
    samples = make_samples(args.count, args.seed)
    mine, reference = ours(samples), theirs(samples, toolkit)
    for sample in samples:
        sample.drawn  # noqa: B018  compiled and drawn before the clock runs
    results = results_head("bench metrics", __version__, path=args.bop_toolkit, sha256="", frames=args.count,
                           seed=args.seed)
    bench: dict[str, dict[str, Any]] = {}
    with tqdm(total=len(mine) * args.repeats, unit="run", disable=None) as bar:
        for name in mine:
            times = []
            for _ in range(args.repeats):
                (ours_ms, here), (reference_ms, there) = milliseconds(mine[name]), milliseconds(reference[name])
                times.append((ours_ms, reference_ms))
                bar.update()
            best = np.min(times, 0)
            bench[name] = _entry(*best) | {"max_difference": float(np.abs(here - there).max())}
    whole = [sum(bench[name][key] for name in _EVALUATION) for key in ("ours_ms", "reference_ms")]
    bench["evaluation"] = _entry(*whole)
    results["bench"] = bench
    if args.json:
        write_json(args.json, results)
    print(_table(bench, args.count))
    return within_limits(args, results)


def _entry(ours_ms: float, reference_ms: float) -> dict[str, Any]:
    return {"ours_ms": float(ours_ms), "reference_ms": float(reference_ms), "ratio": float(reference_ms / ours_ms)}


def _table(bench: dict[str, dict[str, Any]], count: int) -> str:
    rows = [("", "ours [ms]", "bop_toolkit [ms]", "ratio", "largest difference")]
    for name, b in bench.items():
        difference = f"{b['max_difference']:.1e} {_UNITS[name]}".rstrip() if "max_difference" in b else ""
        rows.append((name, f"{b['ours_ms']:.1f}", f"{b['reference_ms']:.1f}", f"{b['ratio']:.1f}", difference))
    return (f"{aligned(rows)}\n\n{count} estimates at 640x480; evaluation = {' + '.join(_EVALUATION)}; renderings by "
            "STORM's rasteriser on both sides")
