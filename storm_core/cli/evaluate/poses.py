"""`storm evaluate poses`: single poses in a BOP CSV or scene_pred.json over a BOP dataset."""

import argparse
from pathlib import Path
from typing import Any

from storm_core.cli.arguments import add_config, add_json, add_mesh_folder, config_from
from storm_core.cli.limits import add_limits, within_limits
from storm_core.errors import DatasetError


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("poses", help="single poses: BOP CSV or scene_pred.json over a BOP dataset")
    parser.add_argument("--bop-dir", metavar="DIR", required=True,
                        help="BOP dataset or split with ground truth (models in DIR/models or --models)")
    parser.add_argument("--pred", metavar="FILE", required=True, help="BOP CSV, or scene_pred.json (with --scene)")
    parser.add_argument("--scene", type=int, metavar="ID", default=None,
                        help="scene of a scene_pred.json; with a CSV: evaluate only this scene")
    parser.add_argument("--all-annotations", action="store_true",
                        help="every visible annotation is a target, even when the dataset lists its targets")
    add_mesh_folder(parser)
    add_config(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
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
    return within_limits(args, results)


def _table(results: dict[str, Any]) -> str:
    rows = [("object", "targets", "predicted", "ADD AUC", "ADD-S AUC", "ADD<0.1d", "ADD-S<0.1d", "MSSD p50 [mm]")]
    for name, f in results["objects"].items():
        rows.append((name, str(f["targets"]), str(f["predicted"]), *(f"{f[k]:.3f}" for k in (
            "add_auc", "adds_auc", "add_01d", "adds_01d")), f"{f['mssd_mm']['p50']:.1f}"))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(r, widths, strict=True)) for r in rows)
