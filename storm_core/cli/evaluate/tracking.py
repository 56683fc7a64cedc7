"""`storm evaluate tracking`: what a system published over a recording, STORM or any other."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from storm_core.cli.arguments import add_config_seed, add_json, add_models, config_from, require_models
from storm_core.cli.limits import add_limits, within_limits
from storm_core.cli.recording_options import add_recording, recording_from
from storm_core.cli.run_table import table
from storm_core.cli.truth_options import add_truth, named, truth_options
from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording
    from storm_core.bags.selection import Selection
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.types import StepOutput


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("tracking", help="poses over a recording, of `storm replay` or of any other system",
                              description=(
        "Evaluate what a system published over a recording: a predictions.jsonl of `storm replay`, or the poses of any "
        "other system as BOP CSV, scene_pred.json, TUM trajectories or a bag. Nothing of STORM looks at the images. "
        "A frame without a pose counts as a failure."))
    add_recording(parser)
    parser.add_argument("--pred", action="append", metavar="[NAME:=]FILE", required=True,
                        help="predictions.jsonl, BOP CSV, scene_pred.json, bag, or TUM trajectory of an object's pose "
                             "in the camera [s, m] (may be repeated, one for each object)")
    parser.add_argument("--pred-topic", action="append", metavar="[NAME:=]TOPIC", default=[],
                        help="topic of the bag given as --pred: PoseStamped, PoseWithCovarianceStamped, "
                             "TransformStamped or Detection3DArray (by name); may be repeated "
                             "(default: /object_pose/<object>/pose, or the only topic with poses)")
    parser.add_argument("--out", metavar="DIR", default="",
                        help="write the folder of a run: results.json, errors.csv, report.html, trajectories, video")
    parser.add_argument("--no-video", action="store_true", help="write no mp4, GIF and key frames")
    add_truth(parser)
    add_models(parser)
    add_config_seed(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from storm_core.bags.camera_motion import camera_motion
    from storm_core.bags.selection import select
    from storm_core.pipeline.build import build_models
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.results import to_json
    from storm_core.report.run import load_run_truth, run_results, write_run

    config = require_models(config_from(args))
    whole = recording_from(args)
    if _is_own(args):
        recording, outputs, names = _own(args, whole)
        config = replace(config, objects=names)
        models = build_models(config)
    else:
        recording = select(whole)
        config = replace(config, objects=config.objects or _named_in(args.pred))
        models = build_models(config)
        outputs = _foreign(args, whole, config, models)
    truth = None
    if args.truth == "auto":
        known = load_run_truth(whole, config, models, truth_options(args, tuple(models)))
        if known is None:
            raise DatasetError(f"{args.recording} has no ground truth (scene_gt.json, /ground_truth topics); pass "
                               "--gt-topic, --gt-tf, --gt-tum or --gt-bop, or --truth none for self-consistency only")
        truth = recording.truth(known)
    world_from_cam = camera_motion(whole, args.world_frame)[list(recording.indices)] if args.world_frame else None
    with ExitStack() as kept:
        json_file = kept.enter_context(whole_file(args.json)) if args.json else None
        if args.out:
            results = write_run(kept.enter_context(whole_folder(args.out)), command="evaluate tracking", config=config,
                                models=models, recording=recording, outputs=outputs, truth=truth,
                                video=not args.no_video, world_from_cam=world_from_cam)
        else:
            results, _ = run_results("evaluate tracking", config, models, recording, outputs, truth,
                                     world_from_cam=world_from_cam)
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(table(results))
    if args.out:
        print(f"\nreport {Path(args.out) / 'report.html'}")
    return within_limits(args, results)


def _is_own(args: argparse.Namespace) -> bool:
    own = [file for file in args.pred if file.endswith(".jsonl")]
    if own and len(args.pred) > 1:
        raise ConfigError(f"--pred {own[0]} holds all objects of its run; give it alone")
    return bool(own)


def _own(args: argparse.Namespace, whole: "Recording",
         ) -> "tuple[Selection, list[StepOutput], tuple[str, ...]]":
    """The frames that a predictions.jsonl has to be about, an output for each of them, and its objects."""
    from storm_core.report.jsonl import object_names, read_jsonl
    from storm_core.report.played import padded, played_part

    file = Path(args.pred[0])
    predictions = read_jsonl(file)
    part = played_part(file, whole)
    try:
        outputs, silent = padded(predictions, part)
    except DatasetError as error:
        raise DatasetError(f"{file} was not made from {args.recording}: {error}") from error
    if silent:
        print(f"storm: warning: {file} says nothing about {silent} of {len(part)} frames; they count as failures (of a "
              "run that played only a part, keep results.json beside predictions.jsonl)", file=sys.stderr)
    return part, outputs, object_names(predictions.outputs)


def _named_in(given: list[str]) -> tuple[str, ...]:
    """The objects of NAME:=FILE texts."""
    return tuple(text.partition(":=")[0] for text in given if ":=" in text)


def _foreign(args: argparse.Namespace, recording: "Recording", config: "StormConfig",
             models: "dict[str, ObjectModel]") -> "list[StepOutput]":
    from storm_core.bags.recording import is_bag
    from storm_core.bop.dataset import object_ids
    from storm_core.report.foreign import from_bag, from_bop, from_tum, outputs_of

    names = tuple(models)
    whole = Path(args.pred[0])
    for text in args.pred:
        file = Path(text.partition(":=")[2] or text)
        if not file.exists():
            raise DatasetError(f"--pred {file} does not exist")
    several = len(args.pred) > 1 or ":=" in args.pred[0]
    if not several and (whole.is_dir() or is_bag(whole)):
        found = from_bag(whole, recording, names, named("--pred-topic", args.pred_topic, names))
    elif args.pred_topic:
        raise ConfigError(f"--pred-topic {args.pred_topic[0]}: --pred {args.pred[0]} is no bag")
    elif not several and whole.suffix in (".csv", ".json"):
        found = from_bop(whole, recording, object_ids(Path(config.models), names), names)
    else:
        files = named("--pred", args.pred, names) or {}
        found = from_tum({name: Path(file) for name, file in files.items()}, recording)
    return outputs_of(found, recording, names)
