"""`storm bench refiner`: the learned refiner and scorer per stage, beside what their operations cost at least."""

import argparse
from collections.abc import Callable
from typing import Any

from storm_core.cli.arguments import add_config, add_json
from storm_core.cli.columns import aligned
from storm_core.cli.limits import add_limits, within_limits


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("refiner", help="the learned refiner and scorer, per stage", description=(
        "Time crops, network and whole refinement of one object in a made-up frame, with random weights of the given "
        "size (speed does not depend on what they say) or those of refiner.weights, beside the floor: the operations "
        "of the network at the speed of a matrix product in the same process. CPU ms of this process, the shortest of "
        "the repeats; on CUDA by the clock. FoundationPose's own network, from its checkout, runs beside on the same "
        "device with the same number of hypotheses, iterations and crop."))
    parser.add_argument("--hypotheses", type=int, nargs="+", metavar="N", default=[1, 12, 252],
                        help="numbers of hypotheses (default: 1 12 252)")
    parser.add_argument("--iterations", type=int, metavar="N", default=5, help="refinement steps (default: 5)")
    parser.add_argument("--width", type=int, metavar="N", default=0,
                        help="random weights of this width: 64 = the published network (default: refiner.weights)")
    parser.add_argument("--crop", type=int, metavar="PX", default=160, help="crop with --width (default: 160)")
    parser.add_argument("--repeats", type=int, metavar="N", default=3, help="the shortest counts (default: 3)")
    parser.add_argument("--foundationpose", metavar="DIR", default="",
                        help="checkout of github.com/NVlabs/FoundationPose: its RefineNet runs beside with random "
                             "weights; needs what its modules import")
    add_config(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core import __version__
    from storm_core.benchmarks.refiner_floor import measured_peak, work_of
    from storm_core.benchmarks.refiner_stages import bench_weights, foundationpose_network, stages
    from storm_core.cli.arguments import config_from
    from storm_core.errors import ConfigError
    from storm_core.report.results import results_head, write_json

    if min(*args.hypotheses, args.iterations, args.repeats) < 1 or args.width < 0:
        raise ConfigError("--hypotheses, --iterations and --repeats must be at least 1 and --width not negative, got "
                          f"{args.hypotheses}, {args.iterations}, {args.repeats} and {args.width}")
    config = config_from(args).refiner
    weights = bench_weights(config, args.width, args.crop)
    work, peak = work_of(weights.shape, "refiner"), measured_peak()
    theirs: Callable[..., Any] | str = "--foundationpose DIR was not given"
    if args.foundationpose:
        theirs = foundationpose_network(args.foundationpose, weights.shape, config.device)
    bench: dict[str, dict[str, Any]] = {}
    for count in args.hypotheses:
        for name, ms in stages(weights, config, count, args.iterations, args.repeats, theirs).items():
            pairs = count * (args.iterations if name == "refine" else 1)
            floor = work.floor_ms(pairs, peak) if name in ("network", "refine") and config.device != "cuda" else None
            bench[f"{name}_{count}"] = {"ours_ms": ms[0], "reference_ms": ms[1], "floor_ms": floor,
                                        "ratio": None if ms[1] is None else ms[1] / ms[0]}
    results = results_head("bench refiner", __version__, path="", sha256=weights.sha256, frames=1, seed=0) | {
        "bench": bench, "device": config.device, "gflop_per_pair": work.operations / 1e9,
        "weight_mib": work.weight_bytes / 2**20, "peak_gflops": peak / 1e9, "iterations": args.iterations,
        "foundationpose": theirs if isinstance(theirs, str) else "ran"}
    if args.json:
        write_json(args.json, results)
    print(_text(results))
    return within_limits(args, results)


def _text(results: dict[str, Any]) -> str:
    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    rows = [("stage_hypotheses", "ours [ms]", "floor [ms]", "FoundationPose [ms]", "ratio")]
    rows += [(name, shown(b["ours_ms"]), shown(b["floor_ms"]), shown(b["reference_ms"]), shown(b["ratio"]))
             for name, b in results["bench"].items()]
    return (f"{aligned(rows)}\n\n{results['gflop_per_pair']:.3f} GFLOP per pair, {results['weight_mib']:.1f} MiB of "
            f"weights, floor at {results['peak_gflops']:.0f} GFLOP/s; refine = {results['iterations']} iterations on "
            f"{results['device']}; FoundationPose: {results['foundationpose']}")
