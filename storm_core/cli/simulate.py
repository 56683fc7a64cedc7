"""`storm simulate`: render a recording with known truth and write it as BOP dataset, rosbag2 or both."""

import argparse

from storm_core.cli import simulate_benchmark
from storm_core.cli.arguments import add_seed
from storm_core.errors import ConfigError

FORMATS = {"bop": (True, False), "bag": (False, True), "both": (True, True)}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("simulate", help="render a recording with known truth", description=(
        "Render procedural objects on a table as an RGB-D camera would see them, with exact ground truth. "
        "Scenarios: demo (14 s: rest, hand-held arc, full occlusion, exit and return, fast sweep), still (0.5 s). "
        "benchmark renders a suite of scenes with declared strata of difficulty (docs/simulation.md)."))
    parser.add_argument("scenario", metavar="SCENARIO", help="demo, still or benchmark")
    parser.add_argument("--out", metavar="DIR", required=True,
                        help="folder for models/, test/000001/ (annotations, images) and bag/ (benchmark: bags/, "
                             "benchmark.json); must not hold them yet")
    parser.add_argument("--format", choices=tuple(FORMATS), default="bop",
                        help="bop: images of a BOP scene, bag: rosbag2 (mcap) with /ground_truth topics (default: bop)")
    add_seed(parser)
    simulate_benchmark.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from tqdm import tqdm

    from storm_core.report.atomic import whole_folder
    from storm_core.simulation.dataset import BAG, SCENE, write_simulation
    from storm_core.simulation.recording import SimulatedRecording

    images, bag = FORMATS[args.format]
    if args.scenario == "benchmark":
        return simulate_benchmark.run(args, images, bag)
    for option in simulate_benchmark.OPTIONS:
        if getattr(args, option) is not None:
            raise ConfigError(f"--{option.replace('_', '-')} belongs to storm simulate benchmark, not to scenario "
                              f"{args.scenario!r}")
    out = Path(args.out).expanduser()
    for name in ("models", "test", BAG):
        if (out / name).exists():
            raise ConfigError(f"{out / name} exists already; remove it or choose another --out")
    recording = SimulatedRecording(args.scenario, args.seed)
    with whole_folder(out) as folder:
        write_simulation(folder, recording, images=images, bag=bag, progress=lambda frames: tqdm(
            frames, total=len(recording), unit="frame", disable=None, desc="render"))
    print(f"objects  {', '.join(recording.models)}\nmodels   {out / 'models'}")
    if images:
        print(f"scene    {out / SCENE}")
    if bag:
        print(f"bag      {out / BAG}")
    return 0
