"""`storm refine`: pictures to pose distributions with the score model: Langevin particles or the trained network."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_config_seed, add_json, add_models, config_from, require_models
from storm_core.cli.refine_sources import Refined, from_masks, from_poses
from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "refine",
        help="turn a pose into a distribution with the score model",
        description=(
            "Register every object in every picture (or start from --init poses), spread particles around it, print a "
            "table and write all particles, their history and their scores to a .npy results dictionary. With --masks "
            "poses are sampled from masks alone. The section score_model of --config, or --set, "
            "chooses method, weights, sampler, steps, particles, polish and selection."
        ),
    )
    parser.add_argument(
        "recording", metavar="PATH", help="BOP scene or dataset, bag, or folder with rgb/, depth/, camera.json"
    )
    add_models(parser)
    add_json(parser)
    add_config_seed(parser)
    parser.add_argument(
        "--images",
        nargs="+",
        type=int,
        metavar="ID",
        default=[],
        help="image ids (default: all; bags count frames from 0)",
    )
    parser.add_argument("--scene", type=int, metavar="ID", default=None, help="the one scene to read (default: all)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--init",
        metavar="FILE",
        default="",
        help="BOP CSV of poses to start from instead of registering; the best score per image and object",
    )
    start.add_argument(
        "--masks",
        choices=("gt", "som", "disturbed"),
        default="",
        help="sample from masks alone, without a pose: mask_visib of a BOP dataset, what STORM segments, or mask_visib "
        "morphologically disturbed",
    )
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default="",
        help="with --masks: only the images of each block's train_idxs.txt or test_idxs.txt; with one list, the other "
        "split is the rest; without lists, every tenth image is test, as in `storm train score` (default: all)",
    )
    parser.add_argument(
        "--out", metavar="FILE", default="results.npy", help="results dictionary (default: results.npy)"
    )
    parser.add_argument(
        "--plots", metavar="DIR", default="", help="write PNGs: evolution of the particles, pose of each selection rule"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core import __version__
    from storm_core.report.atomic import whole_file
    from storm_core.report.file_names import file_stems
    from storm_core.report.results import results_head, stage_times, to_json
    from storm_core.score_model.results import results_as_df, results_table, save_results

    config, models, source = _source(args)
    stems = file_stems(models)
    records: list[dict[str, Any]] = []
    with ExitStack() as outputs_to_keep:
        file = outputs_to_keep.enter_context(whole_file(args.out))
        json_file = outputs_to_keep.enter_context(whole_file(args.json)) if args.json else None
        for item in source.items:
            records.append(item.record)
            if args.plots:
                name = item.record["object"]
                _plot(Path(args.plots), item, models[name], stems[name])
        if not records:
            raise DatasetError(
                f"no pose to refine in {args.recording}: no object was registered in the chosen images; "
                "pass poses with --init or other --images"
            )
        save_results(file, records)
        table, chosen = results_table(records), results_as_df(records)
        if json_file is not None:
            head = results_head(
                "refine", __version__, path=args.recording, sha256=source.sha256, frames=source.frames, seed=config.seed
            )
            times = stage_times([{"refine": r["seconds"] * 1e3} for r in records])
            json_file.write_text(
                to_json(
                    head
                    | {
                        "poses": table.to_dict("records"),
                        "selections": chosen.to_dict("records"),
                        "stages_ms": times,
                    }
                )
            )
    print(table.to_string(index=False, float_format=lambda x: f"{x:.2f}"))
    if "right" in chosen:
        known = chosen.dropna(subset=["right"])
        share = known.groupby("selection", sort=False).agg(
            right=("right", lambda x: 100 * x.astype(float).mean()), median_mm=("error_mm", "median"))
        print("\nerror below 0.1 diameter [%] and median [mm], by selection:")
        print(share.to_string(float_format=lambda x: f"{x:.2f}"))
    print(f"\nwrote {args.out}: {len(records)} pose distributions")
    return 0


def _source(args: argparse.Namespace) -> "tuple[StormConfig, dict[str, ObjectModel], Any]":
    """Configuration, models, and the results as they are made."""
    config = config_from(args)
    if not args.masks:
        if args.split:
            raise ConfigError("--split chooses masks of a BOP dataset; add --masks gt, som or disturbed")
        return from_poses(args, require_models(config))
    return from_masks(args, config)


def _plot(folder: Path, item: Refined, model: "ObjectModel", name: str) -> None:
    from storm_core.report.particles import plot_evolution, plot_selected

    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{item.record['image'].replace('/', '_')}_{name}_{item.number}"
    plot_evolution(folder / f"{stem}_evolution.png", item.record, model, item.frame.rgb, item.frame.camera)
    plot_selected(folder / f"{stem}_selected.png", item.record, model, item.frame.rgb, item.frame.camera)
