"""`storm evaluate`: score predictions of STORM, or of anything else that writes BOP files, against ground truth."""

import argparse
from pathlib import Path
from typing import Any

from storm_core.cli.arguments import add_config, add_json, config_from
from storm_core.cli.replay import gt_topics, table
from storm_core.errors import DatasetError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("evaluate", help="score poses or tracks against ground truth", description=(
        "Score predictions against ground truth. A target without a prediction counts as a failure."))
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    poses = kinds.add_parser("poses", help="single poses: BOP CSV or scene_pred.json over a BOP dataset")
    poses.add_argument("--bop-dir", metavar="DIR", required=True,
                       help="BOP dataset or split with ground truth (models in DIR/models or --models)")
    poses.add_argument("--pred", metavar="FILE", required=True, help="BOP CSV, or scene_pred.json (with --scene)")
    poses.add_argument("--scene", type=int, metavar="ID", default=None,
                       help="scene of a scene_pred.json; with a CSV: evaluate only this scene")
    poses.add_argument("--all-annotations", action="store_true",
                       help="every visible annotation is a target, even when the dataset lists its targets")
    tracking = kinds.add_parser("tracking", help="a predictions.jsonl of `storm replay` against its recording")
    tracking.add_argument("recording", metavar="PATH", help="the recording that was replayed")
    tracking.add_argument("--pred", metavar="FILE", required=True, help="predictions.jsonl")
    tracking.add_argument("--gt-topic", action="append", metavar="[NAME:=]TOPIC", default=[],
                          help="PoseStamped topic with the ground truth (default: /ground_truth/<object>)")
    tracking.add_argument("--gt-tum", metavar="FILE", default="",
                          help="ground truth of the only object: TUM trajectory of its pose in the camera [s, m]")
    for kind, function in ((poses, run_poses), (tracking, run_tracking)):
        kind.add_argument("--models", metavar="DIR", default="", help="folder with the meshes")
        kind.add_argument("--mesh-unit", choices=("auto", "m", "mm", "cm", "in"), default=None,
                          help="unit of the meshes (default: mm for BOP models)")
        add_config(kind)
        add_json(kind)
        kind.set_defaults(run=function)


def run_tracking(args: argparse.Namespace) -> int:
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
    results = run_results("evaluate tracking", config, models, recording, predictions.outputs, truth)
    if args.json:
        write_json(args.json, results)
    print(table(results))
    return 0


def run_poses(args: argparse.Namespace) -> int:
    from storm_core import __version__
    from storm_core.bags.folder import scene_folders
    from storm_core.bags.recording import fingerprint
    from storm_core.bop.dataset import read_annotations, read_targets
    from storm_core.bop.results import read_predictions
    from storm_core.geometry.mesh_io import load_models
    from storm_core.report.pose_table import find_targets, pose_figures
    from storm_core.report.results import results_head, write_json

    root, pred = Path(args.bop_dir), Path(args.pred)
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; pass a BOP dataset, split or scene")
    if pred.suffix == ".json" and args.scene is None:
        raise DatasetError(f"{pred} does not say its scene; pass --scene ID")
    config = config_from(args)
    scenes = {int(s.name): s for s in scene_folders(root, args.scene) if s.name.isdigit()}
    annotations = {scene_id: read_annotations(scene) for scene_id, scene in scenes.items()}
    listed = [] if args.all_annotations else read_targets(root)
    targets = find_targets(annotations, listed)
    predictions = read_predictions(pred, args.scene or 0)
    folder = Path(config.models) if config.models else root / "models"
    wanted = sorted({obj_id for _, _, obj_id in targets})
    models = load_models(folder, [str(i) for i in wanted], unit=config.mesh_unit)
    results = results_head("evaluate poses", __version__, path=root, frames=len({t[:2] for t in targets}),
                           sha256=fingerprint(root, [s / "scene_gt.json" for s in scenes.values()]), seed=config.seed)
    results["targets"] = len(targets)
    results["objects"] = pose_figures(annotations, targets, predictions, models)
    if args.json:
        write_json(args.json, results)
    print(_table(results))
    return 0


def _table(results: dict[str, Any]) -> str:
    rows = [("object", "targets", "predicted", "ADD AUC", "ADD-S AUC", "ADD<0.1d", "ADD-S<0.1d", "MSSD p50 [mm]")]
    for name, f in results["objects"].items():
        rows.append((name, str(f["targets"]), str(f["predicted"]), *(f"{f[k]:.3f}" for k in (
            "add_auc", "adds_auc", "add_01d", "adds_01d")), f"{f['mssd_mm']['p50']:.1f}"))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(r, widths, strict=True)) for r in rows)
