"""`storm refine`: turn the poses of images into distributions with the score model's Langevin particles."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from storm_core.errors import DatasetError

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.score_model.sampler import LangevinRefiner
    from storm_core.types import Frame, Registration

Key = tuple[int, int]
"""(scene_id, im_id)."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("refine", help="pose distributions with the score model", description=(
        "Register every object in every image (or start from --init poses), spread Langevin particles around each pose, "
        "print a table and write all particles, their history and their scores to a .npy results dictionary."))
    parser.add_argument("scene", metavar="SCENE", help="BOP scene, bag or folder with rgb/, depth/, camera.json")
    parser.add_argument("--models", metavar="DIR", required=True, help="folder with meshes")
    parser.add_argument("--objects", nargs="+", metavar="NAME", default=[],
                        help="names or BOP ids of the objects (default: all in the models folder)")
    parser.add_argument("--images", nargs="+", type=int, metavar="ID", default=[],
                        help="image ids (default: all; bags count frames from 0)")
    parser.add_argument("--init", metavar="FILE", default="",
                        help="BOP CSV of poses to start from instead of registering; the best score per image and object")
    parser.add_argument("--out", metavar="FILE", default="results.npy", help="results dictionary (default: results.npy)")
    parser.add_argument("--particles", type=int, metavar="N", default=None, help="particles per object (default: 32)")
    parser.add_argument("--steps", type=int, metavar="N", default=None, help="annealed Langevin steps (default: 12)")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the noise (default: 0)")
    parser.add_argument("--config", metavar="FILE", default="", help="parameter file (default: built-in defaults)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core.bags.recording import open_recording
    from storm_core.config_io import read_config
    from storm_core.pipeline.build import build_models
    from storm_core.score_model.results import results_table, save_results, to_record
    from storm_core.score_model.sampler import LangevinRefiner

    overrides: dict[str, Any] = {"models": args.models, "objects": args.objects, "seed": args.seed}
    overrides |= {f"score_model.{key}": getattr(args, key) for key in ("particles", "steps")
                  if getattr(args, key) is not None}
    config = read_config(args.config or None, overrides)
    recording = open_recording(args.scene)
    wanted = chosen_images(recording, args.images)
    if not Path(args.out).resolve().parent.is_dir():
        raise DatasetError(f"cannot write {args.out}: its folder does not exist; create it or choose another --out")
    models = build_models(config)
    refiner = LangevinRefiner(models, config.score_model, seed=config.seed)
    records = []
    for (scene_id, im_id), start in starts(recording, wanted, models, config, args.init):
        frame, registration = start
        records.append(to_record(f"{scene_id}/{im_id}", *timed(refiner, frame, registration)))
    if not records:
        raise DatasetError(f"no pose to refine in {args.scene}: no object was registered in the chosen images; "
                           "pass poses with --init or other --images")
    print(results_table(records).to_string(index=False, float_format=lambda x: f"{x:.2f}"))
    save_results(args.out, records)
    print(f"\nwrote {args.out}: {len(records)} pose distributions")
    return 0


def chosen_images(recording: "Recording", images: list[int]) -> set[Key]:
    """The ids to look at; DatasetError when one is not in the recording."""
    known = {im_id for _, im_id in recording.ids}
    for im_id in images:
        if im_id not in known:
            raise DatasetError(f"image {im_id} is not in {recording.path}; it has {min(known)} to {max(known)}")
    return {key for key in recording.ids if not images or key[1] in images}


def timed(refiner: "LangevinRefiner", frame: "Frame", registration: "Registration") -> tuple[Any, float]:
    """The result and how long it took [s]."""
    begin = time.perf_counter()
    result = refiner.refine(frame, registration)
    return result, time.perf_counter() - begin


def starts(recording: "Recording", wanted: set[Key], models: "dict[str, ObjectModel]", config: "StormConfig",
           init: str) -> "Iterator[tuple[Key, tuple[Frame, Registration]]]":
    """Every chosen image with every pose to refine in it, from the file `init` or found by searching."""
    from tqdm import tqdm

    given = initial_poses(Path(init)) if init else None
    search = None if init else Search(config, models)
    with tqdm(total=len(wanted), unit="image", disable=None) as bar:
        for key, frame in zip(recording.ids, recording.frames(), strict=False):
            if key not in wanted:
                continue
            for name in models:
                found = search(frame, name) if search is not None else from_file(given, key, name, frame)
                if found is not None:
                    yield key, (frame, found)
            bar.update()


def initial_poses(file: Path) -> dict[tuple[Key, str], np.ndarray]:
    """The best-scored pose (4, 4) of every image and object of a BOP result file."""
    from storm_core.bop.results import read_predictions

    best: dict[tuple[Key, str], np.ndarray] = {}
    for estimate in sorted(read_predictions(file), key=lambda e: e.score):
        best[(estimate.scene_id, estimate.im_id), str(estimate.obj_id)] = estimate.cam_from_obj
    return best


def from_file(given: dict[tuple[Key, str], np.ndarray] | None, key: Key, name: str,
              frame: "Frame") -> "Registration | None":
    """The registration that a given pose stands for; None when the file has none for this image and object."""
    from storm_core.types import Evidence, Registration

    pose = (given or {}).get((key, name))
    if pose is None:
        return None
    return Registration(object_name=name, stamp_ns=frame.stamp_ns, cam_from_obj=pose, covariance=np.eye(6) * 1e-4,
                        probability=0.5, evidence=Evidence())


class Search:
    """Localize and register one object in one image, without memory of other images."""

    def __init__(self, config: "StormConfig", models: "dict[str, ObjectModel]") -> None:
        from storm_core.pipeline.build import build_localizer, build_registrar

        self._localizer = build_localizer(config, models)
        self._registrar = build_registrar(config, models)

    def __call__(self, frame: "Frame", name: str) -> "Registration | None":
        from storm_core.types import Hint, Localization, Registration

        found = self._localizer.localize(frame, name, Hint())
        if not isinstance(found, Localization):
            print(f"{name}: not found ({found.reason.value})", file=sys.stderr)
            return None
        result = self._registrar.register(frame, found)
        if not isinstance(result, Registration):
            print(f"{name}: not registered ({result.reason.value})", file=sys.stderr)
            return None
        return result
