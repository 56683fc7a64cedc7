"""`storm evaluate poses`: single poses in BOP files over a BOP dataset."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from storm_core.cli.arguments import add_config, add_json, add_mesh_folder, config_from
from storm_core.cli.columns import aligned, cell
from storm_core.cli.limits import add_limits, within_limits
from storm_core.errors import DatasetError

METRICS = ("vsd", "mssd", "mspd")
_LEVELS = 3
"""A split, and a scene in it, belong to the dataset in one of so many folders upwards."""


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("poses", help="single poses: BOP CSV or scene_pred.json over a BOP dataset", description=(
        "Score single poses of any system by the rules of BOP (localization 2019: AR; detection 2024: AP) and by ADD, "
        "ADD-S and STORM's own AR. A target without an estimate counts as a failure everywhere."))
    parser.add_argument("--bop-dir", metavar="DIR", required=True,
                        help="BOP dataset or split with ground truth; its test_targets_*.json says what is to be found")
    parser.add_argument("--pred", metavar="PATH", required=True,
                        help="BOP CSV, scene_pred.json (with --scene), or a folder of CSV files or of "
                             "SCENE/scene_pred.json")
    parser.add_argument("--scene", type=int, metavar="ID", default=None,
                        help="scene of a scene_pred.json; with other predictions: evaluate only this scene")
    parser.add_argument("--all-annotations", action="store_true",
                        help="every visible annotation is a target, even when the dataset lists its targets")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=[],
                        help="errors behind AR and AP (default: all that the dataset has cameras and depth images for)")
    parser.add_argument("--vsd-delta", type=_millimetres, metavar="MM", default=None,
                        help="tolerance of VSD's visibility [mm] (default: 15, for a dataset named itodd 5)")
    parser.add_argument("--out", metavar="DIR", default="",
                        help="write results.json, report.html and targets.csv, the errors of every target, there")
    add_mesh_folder(parser)
    add_config(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core import __version__
    from storm_core.bags.folder import scene_folders
    from storm_core.bags.recording import fingerprint
    from storm_core.bop.dataset import read_annotations, read_target_images, read_targets
    from storm_core.bop.models import load_eval_models
    from storm_core.bop.results import read_predictions
    from storm_core.config_io import to_yaml
    from storm_core.metrics.vsd import DELTA_MM, DELTAS_MM
    from storm_core.report.belonging import remark_on_others, require_finite_scores
    from storm_core.report.pose_evaluation import PoseTask, evaluate_poses, usable_metrics
    from storm_core.report.pose_table import contradictions, find_targets
    from storm_core.report.provenance import provenance
    from storm_core.report.results import results_head, write_json

    split, pred = Path(args.bop_dir), Path(args.pred)
    if not split.is_dir():
        raise DatasetError(f"{split} is no folder; pass a BOP dataset, split or scene")
    if pred.suffix == ".json" and args.scene is None:
        raise DatasetError(f"{pred} does not say its scene; pass --scene ID")
    config = config_from(args)
    root = _dataset_of(split)
    scenes = {int(s.name): s for s in scene_folders(split, args.scene) if s.name.isdigit()}
    if not scenes:
        raise DatasetError(f"{split} has no scene: a BOP scene is a folder named by a number")
    listed = [] if args.all_annotations else read_targets(root)
    images = [] if args.all_annotations else read_target_images(root)
    # A split or scene that was asked for holds only some of the targets; a whole dataset must hold all.
    absent = sorted({i for i, *_ in [*listed, *images]} - set(scenes)) if split == root and args.scene is None else []
    if absent:
        raise DatasetError(f"the targets of {root} are in scene {absent[0]}, which is not there; copy it, or choose a "
                           "scene with --scene")
    images = [key for key in images if key[0] in scenes]
    annotations = {scene_id: read_annotations(scene) for scene_id, scene in scenes.items()}
    if images and not listed:
        annotations = {scene_id: {im_id: annotations[scene_id].get(im_id, ()) for s, im_id in images if s == scene_id}
                       for scene_id in scenes}
    targets = find_targets(annotations, listed)
    predictions = read_predictions(pred, args.scene or 0)
    require_finite_scores(pred, predictions)
    metrics, left_out = usable_metrics(scenes.values(), args.metrics)
    models_of = Path(config.models) if config.models else _models_of(root)
    shown = {(scene_id, im_id) for scene_id, im_id, _ in targets} | set(images)
    places = {*targets, *((s, i, a.obj_id) for s, i in shown for a in annotations[s].get(i, ()))}
    wanted = {obj_id for *_, obj_id in places}
    mine = [p for p in predictions if p.scene_id in scenes]
    # Whoever chooses a scene knows that the others are left out; but not that nothing is left.
    remarks = [remark_on_others(pred, mine if mine and args.scene is not None else predictions, places,
                                "an object that is annotated or sought in an evaluated image"),
               contradictions(annotations, targets if listed else ())]
    task = PoseTask(
        scenes=scenes, annotations=annotations, targets=targets, images=images, metrics=metrics,
        models=load_eval_models(models_of, wanted, config.mesh_unit),
        delta_mm=DELTAS_MM.get(root.resolve().name, DELTA_MM) if args.vsd_delta is None else args.vsd_delta,
        seed=config.seed)
    results = results_head("evaluate poses", __version__, path=split, frames=len({t[:2] for t in targets}),
                           sha256=fingerprint(split, [s / "scene_gt.json" for s in scenes.values()]), seed=config.seed)
    figures, judged = evaluate_poses(task, mine)
    results |= figures | {"left_out": left_out}
    results["provenance"] = provenance({str(i): model for i, model in task.models.items()}, to_yaml(config))
    if args.out:
        _write(Path(args.out), results, judged, to_yaml(config))
    if args.json:
        write_json(args.json, results)
    print(_tables(results))
    _warn(results, remarks)
    return within_limits(args, results)


def _millimetres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a tolerance is a positive number of millimetres, got {text!r}")
    return value


def _dataset_of(split: Path) -> Path:
    """The folder with targets or models that the split or scene belongs to, else the folder itself."""
    places = [split, *list(split.resolve().parents)[:_LEVELS - 1]]
    return next((p for p in places if list(p.glob("test_targets_*.json")) or (p / "models").is_dir()
                 or (p / "models_eval").is_dir()), split)


def _models_of(root: Path) -> Path:
    """BOP measures with models_eval where a dataset has it."""
    return root / "models_eval" if (root / "models_eval").is_dir() else root / "models"


def _write(out: Path, results: Mapping[str, Any], judged: Mapping[int, Any], config_text: str) -> None:
    from storm_core.report.atomic import whole_folder
    from storm_core.report.html import html_report
    from storm_core.report.pose_evaluation import write_target_table
    from storm_core.report.results import to_json

    with whole_folder(out) as folder:
        (folder / "results.json").write_text(to_json(results))
        write_target_table(folder / "targets.csv", judged)
        (folder / "report.html").write_text(html_report(
            results, errors={str(i): targets for i, targets in judged.items()}, config_text=config_text))


def _tables(results: Mapping[str, Any]) -> str:
    columns = {"ADD AUC": "add_auc", "ADD-S AUC": "adds_auc", "ADD<0.1d": "add_01d", "ADD-S<0.1d": "adds_01d",
               "AR of STORM": "ar_storm"}
    rows = [("object", "targets", "predicted", *columns, "MSSD p50 [mm]", "BOP AR", "BOP AP")]
    for name, f in results["objects"].items():
        rows.append((name, str(f["targets"]), str(f["predicted"]), *(cell(f[k]) for k in columns.values()),
                     f"{f['mssd_mm']['p50']:.1f}", cell(f["bop19"]["ar"]), cell(f["bop24"]["ap"])))
    rows.append(("mean", "", "", *(cell(results["mean"][k]) for k in columns.values()), "", "", ""))
    localization, detection = results["bop19"], results["bop24"]
    seconds = results["time_per_image_s"]
    return "\n".join([
        aligned(rows), "",
        "BOP localization  " + "  ".join(f"{k.upper().replace('AR_', 'AR ')} {cell(v)}"
                                         for k, v in localization.items()),
        "BOP detection     " + "  ".join(f"{k.upper().replace('AP_', 'AP ').replace('_MM', ' [mm]')} {cell(v)}"
                                         for k, v in detection.items()),
        "time per image    " + ("-" if seconds != seconds else f"{seconds:.3f} s"),
        "AR of STORM = mean of the areas under ADD and ADD-S to 0.1 diameter; it is not BOP's AR."])


def _warn(results: Mapping[str, Any], remarks: Sequence[str]) -> None:
    for remark in filter(None, remarks):
        print(f"storm: warning: {remark}", file=sys.stderr)
    for name, reason in results["left_out"].items():
        if reason != "not asked for":
            print(f"storm: warning: {name} is left out, and AR or AP with it: {reason}", file=sys.stderr)
    skipped = results["skipped"]
    if skipped:
        first = skipped[0]
        print(f"storm: warning: {len(skipped)} images cannot be used and count as failures; first: scene "
              f"{first['scene_id']} image {first['im_id']}: {first['reason']}", file=sys.stderr)
