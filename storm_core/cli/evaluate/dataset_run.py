"""What the commands share that run STORM over a BOP dataset: options, workers, resuming, what was skipped."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_config_seed, add_json, add_models, config_from
from storm_core.cli.columns import aligned, cell
from storm_core.cli.limits import add_limits
from storm_core.errors import ConfigError

if TYPE_CHECKING:
    from storm_core.bop.results import PoseEstimate
    from storm_core.config import StormConfig
    from storm_core.evaluation.dataset import Dataset
    from storm_core.evaluation.resume import Parts
    from storm_core.evaluation.workers import Crew
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.report.pose_table import JudgedTargets


@dataclass(frozen=True, eq=False, kw_only=True)
class Setup:
    """A run before its first job.

    Attributes:
      models: {} when nothing will be run. out: folder of the results. only_chosen: the user named the objects.
    """

    command: str
    dataset: "Dataset"
    config: "StormConfig"
    models: "dict[str, ObjectModel]"
    crew: "Crew"
    parts: "Parts"
    out: Path
    only_chosen: bool


def add_dataset_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Which targets of which dataset."""
    parser.add_argument("--bop-dir", metavar="DIR", required=required, default="",
                        help="BOP dataset, split or scene with ground truth (meshes in its models/, or --models)")
    add_models(parser)
    parser.add_argument("--scene", type=int, nargs="+", metavar="ID", default=[], help="only these scenes")
    parser.add_argument("--max-images", type=int, metavar="N", default=0,
                        help="only the first N images that have targets (default: all)")
    parser.add_argument("--all-annotations", action="store_true",
                        help="every visible annotation is a target, even when the dataset lists its targets")


def add_run_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """required: the command can do nothing without a dataset."""
    add_dataset_options(parser, required=required)
    parser.add_argument("--out", metavar="DIR", default="",
                        help="folder of the results; finished parts are kept in DIR/.parts, and the same command "
                             "continues from there (default: results/<command>_<dataset>)")
    parser.add_argument("--restart", action="store_true", help="throw finished parts away and start anew")
    parser.add_argument("--workers", type=int, metavar="N", default=_cores(),
                        help="processes of one thread each; 1: this process with all cores (default: one per core)")
    parser.add_argument("--dask", metavar="ADDRESS", default="",
                        help="let the workers of this Dask scheduler do the work, e.g. tcp://host:8786; they need "
                             "storm_ros and must see the dataset under the same path (shared file system)")
    add_config_seed(parser)
    add_json(parser)
    add_limits(parser)


def prepare(args: argparse.Namespace, command: str, *, every_model: bool = False, with_models: bool = True) -> Setup:
    """Everything that can be checked before the work starts.

    Args:
      every_model: the configuration gets all models of the folder, not only those that are targets.

    Raises:
      StormError: what is wrong with the options, the dataset or the meshes.
    """
    from storm_core.evaluation.dataset import open_dataset
    from storm_core.evaluation.resume import Parts
    from storm_core.evaluation.workers import Crew
    from storm_core.pipeline.build import build_models

    if args.workers < 1 or args.max_images < 0:
        raise ConfigError(f"--workers must be at least 1 and --max-images not negative, got {args.workers}, "
                          f"{args.max_images}")
    root = Path(args.bop_dir)
    config = config_from(args)
    dataset = open_dataset(root, models=config.models, scenes=args.scene, objects=config.objects,
                           all_annotations=args.all_annotations, max_images=args.max_images)
    config = replace(config, models=str(dataset.models),
                     objects=dataset.all_names if every_model else dataset.names)
    out = Path(args.out or Path("results") / f"{command}_{root.resolve().name}")
    return Setup(command=command, dataset=dataset, config=config,
                 models=build_models(config) if with_models else {}, only_chosen=bool(args.objects),
                 crew=Crew(workers=args.workers, dask=args.dask), parts=Parts(out, restart=args.restart), out=out)


def run_head(setup: Setup, outcomes: Sequence[Mapping[str, Any]], reused: int) -> dict[str, Any]:
    """What the results of every such run start with."""
    from storm_core import __version__
    from storm_core.config_io import to_yaml
    from storm_core.report.provenance import provenance
    from storm_core.report.results import results_head

    skipped = [entry for outcome in outcomes for entry in outcome["skipped"]]
    head = results_head(f"evaluate {setup.command}", __version__, path=setup.dataset.root, seed=setup.config.seed,
                        sha256=setup.dataset.sha256, frames=len(setup.dataset.images))
    return head | {
        "provenance": provenance(setup.models, to_yaml(setup.config)),
        "targets": len(setup.dataset.targets), "images_left_out": setup.dataset.left_out, "skipped": skipped,
        "workers": {"kind": "dask" if setup.crew.dask else "local", "count": setup.crew.workers,
                    "threads_of_parts": dict(sorted(Counter(str(o["threads"]) for o in outcomes).items())),
                    "parts": len(outcomes), "parts_reused": reused}}


def say_what_is_special(results: Mapping[str, Any]) -> None:
    """Lines below the table: what was skipped, left out or taken from an earlier run."""
    workers, skipped = results["workers"], results["skipped"]
    if workers["parts_reused"]:
        print(f"{workers['parts_reused']} of {workers['parts']} parts are from an earlier run (--restart measures "
              "anew)")
    if results["images_left_out"]:
        print(f"{results['images_left_out']} images with targets were left out (--max-images)")
    if skipped:
        first = skipped[0]
        print(f"storm: warning: {len(skipped)} skipped, counted as failures; first: scene {first['scene_id']} image "
              f"{first['im_id']}: {first['reason']}", file=sys.stderr)


def add_pose_figures(results: dict[str, Any], setup: Setup, estimates: "Sequence[PoseEstimate]",
                     ) -> "dict[int, JudgedTargets]":
    """Put the figures of `storm evaluate poses` into the results; the errors of every target by object."""
    from storm_core.bop.models import load_eval_models
    from storm_core.metrics.vsd import DELTA_MM, DELTAS_MM
    from storm_core.report.pose_evaluation import PoseTask, evaluate_poses, usable_metrics

    data = setup.dataset
    metrics, results["left_out"] = usable_metrics(data.scenes.values())
    folder = data.models.with_name("models_eval")
    models = load_eval_models(folder if folder.is_dir() else data.models, [int(n) for n in data.names],
                              setup.config.mesh_unit)
    figures, judged = evaluate_poses(PoseTask(
        scenes=data.scenes, annotations=data.annotations, targets=data.targets, images=(), metrics=metrics,
        models=models, delta_mm=DELTAS_MM.get(data.models.parent.name, DELTA_MM),
        seed=setup.config.seed), estimates)
    if not data.covers_every_annotation:
        # Detection AP is about everything that an image shows; it would count what was never searched.
        results["left_out"]["bop24"] = "only the listed targets were searched; use --all-annotations"
        for of_one in (figures, *figures["objects"].values()):
            of_one["bop24"] = dict.fromkeys(of_one["bop24"])
    known = {(s["scene_id"], s["im_id"]) for s in results["skipped"]}
    skipped = results["skipped"] + [s for s in figures["skipped"] if (s["scene_id"], s["im_id"]) not in known]
    results |= figures | {"skipped": skipped}
    results |= strata_of(data.root, judged, {i: model.diameter for i, model in models.items()})
    return judged


def strata_of(root: Path, judged: "Mapping[int, JudgedTargets]", diameters_m: Mapping[int, float]) -> dict[str, Any]:
    """{"strata": figures by stratum} for a dataset of `storm simulate benchmark`, {} for others."""
    from storm_core.evaluation.strata import find_benchmark, stratum_figures

    benchmark = find_benchmark(root)
    return {} if benchmark is None else {"strata": stratum_figures(benchmark, judged, diameters_m)}


def stratum_table(results: Mapping[str, Any]) -> str:
    """Figures by stratum, empty without strata."""
    if "strata" not in results:
        return ""
    rows = [("stratum", "scenes", "right", "wrong", "found")]
    rows += [(stratum, str(f["right"]["scenes"]), *(cell(f[key]["mean"]) for key in ("right", "wrong", "found")))
             for stratum, f in results["strata"].items()]
    return f"\n{aligned(rows)}\n"


def pose_table(results: Mapping[str, Any]) -> str:
    """Pose figures per object, and BOP's over all."""
    columns = {"targets": "targets", "predicted": "predicted", "ADD AUC": "add_auc", "ADD-S AUC": "adds_auc",
               "ADD<0.1d": "add_01d", "ADD-S<0.1d": "adds_01d"}
    rows = [("object", *columns, "BOP AR", "BOP AP")]
    rows += [(name, *(cell(f.get(key)) for key in columns.values()), cell(f["bop19"]["ar"]), cell(f["bop24"]["ap"]))
             for name, f in results["objects"].items()]
    rows.append(("all", "", "", *(cell(results["mean"].get(key)) for key in list(columns.values())[2:]),
                 cell(results["bop19"]["ar"]), cell(results["bop24"]["ap"])))
    return aligned(rows)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
