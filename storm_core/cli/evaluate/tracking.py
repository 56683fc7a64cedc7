"""`storm evaluate tracking`: what a system published over a recording."""

import argparse
from pathlib import Path

from storm_core.cli.arguments import add_config, add_json, add_mesh_folder, config_from
from storm_core.cli.limits import add_limits, within_limits
from storm_core.cli.replay import gt_topics, table
from storm_core.errors import DatasetError


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("tracking", help="a predictions.jsonl of `storm replay` against its recording")
    parser.add_argument("recording", metavar="PATH", help="the recording that was replayed")
    parser.add_argument("--pred", metavar="FILE", required=True, help="predictions.jsonl")
    parser.add_argument("--gt-topic", action="append", metavar="[NAME:=]TOPIC", default=[],
                        help="PoseStamped topic with the ground truth (default: /ground_truth/<object>)")
    parser.add_argument("--gt-tum", metavar="FILE", default="",
                        help="ground truth of the only object: TUM trajectory of its pose in the camera [s, m]")
    add_mesh_folder(parser)
    add_config(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from storm_core.bags.recording import open_recording
    from storm_core.pipeline.build import build_models
    from storm_core.report.jsonl import read_jsonl
    from storm_core.report.results import write_json
    from storm_core.report.run import load_run_truth, run_results

    predictions = read_jsonl(Path(args.pred))
    names = tuple(i.object_name for i in predictions.outputs[0].objects)
    config = replace(config_from(args), objects=names)
    if not config.models:
        raise DatasetError("no meshes given; use --models DIR")
    recording = open_recording(args.recording)
    if recording.ids[:len(predictions.ids)] != predictions.ids:
        raise DatasetError(f"{args.pred} was not made from {args.recording}: its frames are {predictions.ids[0]} to "
                           f"{predictions.ids[-1]}, the recording has {recording.ids[0]} to {recording.ids[-1]}")
    models = build_models(config)
    truth = load_run_truth(recording, config, models, gt_topics(args.gt_topic, names), args.gt_tum)
    if truth is None:
        raise DatasetError(f"{args.recording} has no ground truth (scene_gt.json, /ground_truth topics); pass "
                           "--gt-topic or --gt-tum")
    results, _ = run_results("evaluate tracking", config, models, recording, predictions.outputs, truth)
    if args.json:
        write_json(args.json, results)
    print(table(results))
    return within_limits(args, results)
