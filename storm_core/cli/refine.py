"""`storm refine`: turn the poses of pictures into distributions with the score model's Langevin particles."""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storm_core.cli.arguments import add_json, add_models, add_seed, config_from, require_models
from storm_core.cli.pictures import Key, chosen_frames
from storm_core.errors import DatasetError

if TYPE_CHECKING:
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.types import Frame, Registration

    Start = Callable[[Key, str, Frame], Registration | None]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "refine",
        help="turn a pose into a distribution with the score model",
        description=(
            "Register every object in every picture (or start from --init poses), spread Langevin particles around it, "
            "print a table and write all particles, their history and their scores to a .npy results dictionary. "
            "score_model.particles and score_model.steps set the effort (--set)."
        ),
    )
    parser.add_argument(
        "recording", metavar="PATH", help="BOP scene or dataset, bag, or folder with rgb/, depth/, camera.json"
    )
    add_models(parser)
    add_json(parser)
    add_seed(parser)
    parser.add_argument(
        "--images",
        nargs="+",
        type=int,
        metavar="ID",
        default=[],
        help="image ids (default: all; bags count frames from 0)",
    )
    parser.add_argument("--scene", type=int, metavar="ID", default=None, help="the one scene to read (default: all)")
    parser.add_argument(
        "--init",
        metavar="FILE",
        default="",
        help="BOP CSV of poses to start from instead of registering; the best score per image and object",
    )
    parser.add_argument(
        "--out", metavar="FILE", default="results.npy", help="results dictionary (default: results.npy)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core import __version__
    from storm_core.bags.recording import open_recording
    from storm_core.pipeline.build import build_models
    from storm_core.report.atomic import whole_file
    from storm_core.report.results import results_head, stage_times, to_json
    from storm_core.score_model.results import results_table, save_results, to_record
    from storm_core.score_model.sampler import LangevinRefiner

    config = replace(require_models(config_from(args)), seed=args.seed)
    recording = open_recording(args.recording, scene=args.scene)
    models = build_models(config)
    start = file_start(Path(args.init)) if args.init else search_start(config, models)
    refiner = LangevinRefiner(models, config.score_model, seed=config.seed)
    records, stage_ms = [], []
    with ExitStack() as outputs_to_keep:
        file = outputs_to_keep.enter_context(whole_file(args.out))
        json_file = outputs_to_keep.enter_context(whole_file(args.json)) if args.json else None
        for _, key, frame in chosen_frames(recording, args.images):
            for name in models:
                registration = start(key, name, frame)
                if registration is None:
                    continue
                begin = time.perf_counter()
                result = refiner.refine(frame, registration)
                seconds = time.perf_counter() - begin
                records.append(to_record(f"{key[0]}/{key[1]}", result, seconds))
                stage_ms.append({"refine": seconds * 1e3})
        if not records:
            raise DatasetError(
                f"no pose to refine in {args.recording}: no object was registered in the chosen images; "
                "pass poses with --init or other --images"
            )
        save_results(file, records)
        table = results_table(records)
        if json_file is not None:
            head = results_head(
                "refine",
                __version__,
                path=args.recording,
                sha256=recording.sha256,
                frames=len(recording),
                seed=config.seed,
            )
            json_file.write_text(
                to_json(head | {"poses": table.to_dict("records"), "stages_ms": stage_times(stage_ms)})
            )
    print(table.to_string(index=False, float_format=lambda x: f"{x:.2f}"))
    print(f"\nwrote {args.out}: {len(records)} pose distributions")
    return 0


def file_start(file: Path) -> "Start":
    """Starts at the best-scored pose of each image and object of a BOP result file."""
    from storm_core.bop.results import read_predictions
    from storm_core.types import Evidence, Registration

    best = {
        ((e.scene_id, e.im_id), str(e.obj_id)): e.cam_from_obj
        for e in sorted(read_predictions(file), key=lambda e: e.score)
    }

    def start(key: Key, name: str, frame: "Frame") -> "Registration | None":
        pose = best.get((key, name))
        if pose is None:
            return None
        return Registration(
            object_name=name,
            stamp_ns=frame.stamp_ns,
            cam_from_obj=pose,
            covariance=np.eye(6) * 1e-4,
            probability=0.5,
            evidence=Evidence(),
        )

    return start


def search_start(config: "StormConfig", models: "dict[str, ObjectModel]") -> "Start":
    """Starts at what a fresh search in each image finds; says on stderr what it did not find."""
    from storm_core.pipeline.build import build_localizer, build_registrar
    from storm_core.types import Hint, Localization, Registration

    localizer, registrar = build_localizer(config, models), build_registrar(config, models)

    def start(key: Key, name: str, frame: "Frame") -> "Registration | None":
        found = localizer.localize(frame, name, Hint())
        result = registrar.register(frame, found) if isinstance(found, Localization) else found
        if isinstance(result, Registration):
            return result
        print(f"image {key[0]}/{key[1]}: {name} not found ({result.reason.value})", file=sys.stderr)
        return None

    return start
