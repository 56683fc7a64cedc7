"""`storm train failures`: lessons for `storm train monitor` from your own recordings."""

import argparse
from pathlib import Path

from storm_core.cli.arguments import add_config_seed
from storm_core.cli.evaluate.dataset_run import add_dataset_options


def add_failures(models: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = models.add_parser("failures", help="labelled failures from your own recordings, to train monitors on",
                               description=(
        "Put the faults of the failure benchmark into every scene of a BOP dataset and keep the labelled poses: "
        "OUT/pairs.jsonl (img1, img2, label, cause) with OUT/crops for the pair model, OUT/records for the small "
        "network. A second run with the same OUT adds to them. Then: storm train monitor --set "
        "data.records=OUT/records --set data.scenes=N, or --set data.source=pairs --set data.pairs=OUT/pairs.jsonl."))
    add_dataset_options(parser)
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for pairs and records")
    parser.add_argument("--split", choices=("train", "val"), default="train",
                        help="what the records are for; pairs are split by storm train monitor (default: train)")
    parser.add_argument("--causes", nargs="+", metavar="NAME", default=[],
                        help="only these faults (default: all that apply to the object)")
    parser.add_argument("--frames", type=int, metavar="N", default=120,
                        help="the first N images of each scene (default: 120)")
    parser.add_argument("--every", type=int, metavar="N", default=3, help="every N-th frame is kept (default: 3)")
    add_config_seed(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from tqdm import tqdm

    from storm_core.cli.arguments import config_from
    from storm_core.cli.columns import aligned
    from storm_core.errors import ConfigError, DatasetError
    from storm_core.evaluation.dataset import open_dataset
    from storm_core.evaluation.failures.causes import MIN_FRAMES, causes_of
    from storm_core.evaluation.system import FRAME_RATE, sequence_images
    from storm_core.pipeline.build import build_models
    from storm_core.training.monitor_failures import PAIRS, RECORDS, write_lessons

    if args.frames < MIN_FRAMES or args.every < 1:
        raise ConfigError(f"--frames must be at least {MIN_FRAMES} and --every at least 1, got {args.frames} and "
                          f"{args.every}")
    causes = causes_of(args.causes)
    config = config_from(args)
    dataset = open_dataset(Path(args.bop_dir), models=config.models, scenes=args.scene, objects=config.objects,
                           all_annotations=args.all_annotations, max_images=args.max_images)
    out, counts, skipped = Path(args.out).expanduser(), dict.fromkeys((c.value for c in causes), 0), []
    for scene_id, folder in tqdm(dataset.scenes.items(), unit="scene", disable=None, desc="failures"):
        names = tuple(str(i) for i in sorted({t[2] for t in dataset.targets if t[0] == scene_id}))
        models = build_models(replace(config, models=str(dataset.models), objects=names))
        try:
            found = write_lessons(sequence_images(folder, FRAME_RATE)[:args.frames], models, causes, out,
                                  split=args.split, seed=config.seed, every=args.every)
        except DatasetError as error:
            skipped.append(str(error))
            continue
        counts = {name: count + found[name] for name, count in counts.items()}
    if not any(counts.values()):
        raise DatasetError(skipped[0] if skipped else f"{args.bop_dir} has no targets")
    print(aligned([("cause", "lessons"), *((name, str(count)) for name, count in counts.items())]))
    for reason in skipped:
        print(f"skipped: {reason}")
    scenes = len(list((out / RECORDS).glob(f"{args.split}_*.npz")))
    print(f"\npairs    {out / PAIRS}\nrecords  {out / RECORDS} ({scenes} scenes of split {args.split})")
    return 0
