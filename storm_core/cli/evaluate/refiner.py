"""`storm evaluate refiner`: errors before and after learned refinement by the size of the disturbance."""

import argparse

from storm_core.cli.arguments import add_config, add_json, add_seed
from storm_core.cli.limits import add_limits, within_limits


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("refiner", help="the learned refiner and scorer: errors before and after", description=(
        "Disturb the true poses of procedural objects that no training has seen, by turns of given sizes and shifts "
        "that grow with them, and say how often each method brings them back: ICP, the refiner, both with the "
        "verifier's choice. A pose is right with a mean point error below 0.1 diameters, declared symmetries allowed. "
        "Intervals are of views drawn again (95 %). refiner.weights, device, iterations: --set."))
    parser.add_argument("--split", choices=("val", "test"), default="val",
                        help="objects; test is for final figures only (default: val)")
    parser.add_argument("--views", type=int, metavar="N", default=60, help="views, each of an object (default: 60)")
    parser.add_argument("--starts", type=int, metavar="N", default=4,
                        help="disturbed poses per view and turn (default: 4)")
    parser.add_argument("--turns", type=float, nargs="+", metavar="DEG", default=[10.0, 30.0, 60.0, 90.0],
                        help="turns of the disturbed poses (default: 10 30 60 90)")
    parser.add_argument("--scorer", action="store_true", help="the scorer's choice beside the verifier's, too")
    parser.add_argument("--geometry", action="store_true", help="only what needs no weights")
    add_config(parser)
    add_seed(parser, "views and starts")
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.cli.arguments import config_from
    from storm_core.cli.columns import aligned
    from storm_core.errors import ConfigError
    from storm_core.evaluation.refiner import errors, methods, procedural_cases, recall, scorer_figures
    from storm_core.render_compare.choice import open_refiner, open_scorer
    from storm_core.report.results import results_head, write_json

    if min(args.views, args.starts) < 1 or min(args.turns) < 0 or max(args.turns) > 180:
        raise ConfigError(f"--views and --starts must be at least 1, --turns from 0 to 180, got {args.views}, "
                          f"{args.starts} and {' '.join(map(str, args.turns))}")
    config = config_from(args)
    refiner = None if args.geometry else open_refiner(config.refiner)
    cases = list(tqdm(procedural_cases(args.split, args.views, args.seed), total=args.views, desc="views",
                      disable=None))
    turns = tuple(args.turns)
    found = errors(cases, methods(refiner, config.refiner.iterations), turns, args.starts, args.seed)
    table = {name: {str(turn): recall(rows, args.seed) for turn, rows in parts.items()}
             for name, parts in found.items()}
    results = results_head("evaluate refiner", __version__, path=args.split, sha256="", frames=args.views,
                           seed=args.seed) | {"refiner": table, "iterations": config.refiner.iterations}
    if args.scorer and not args.geometry:
        results["scorer"] = scorer_figures(cases, open_scorer(config.refiner), turns, args.starts, args.seed)
    if args.json:
        write_json(args.json, results)
    rows = [("right [%] after a turn of", *(f"{turn:g} deg" for turn in turns))]
    rows += [(name, *(f"{100 * p['right']:.0f} [{100 * p['interval'][0]:.0f}, {100 * p['interval'][1]:.0f}]"
                      for p in parts.values())) for name, parts in table.items()]
    rows += [("median error [diameters]", *("" for _ in turns))]
    rows += [(name, *(f"{p['median']:.3f}" for p in parts.values())) for name, parts in table.items()]
    print(aligned(rows))
    for name, value in results.get("scorer", {}).items():
        print(f"first choice right, {name}: {100 * value:.0f} %")
    return within_limits(args, results)
