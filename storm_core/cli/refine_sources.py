"""The two ways of `storm refine`: from poses (any recording) and from masks (BOP datasets)."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.types import Frame


@dataclass(frozen=True, eq=False)
class Refined:
    """One record of the results with the frame it is about; `number` tells apart instances of one object."""

    record: dict[str, Any]
    frame: "Frame"
    number: int


@dataclass(frozen=True, eq=False)
class RefineSource:
    """Attributes:
    items: results, made when asked for. sha256, frames: of the input.
    """

    items: Iterator[Refined]
    sha256: str
    frames: int


def from_poses(args: argparse.Namespace, config: "StormConfig"
               ) -> "tuple[StormConfig, dict[str, ObjectModel], RefineSource]":
    """Start at poses of a file or of a fresh search."""
    from storm_core.bags.recording import open_recording
    from storm_core.cli.refine_starts import file_start, search_start
    from storm_core.pipeline.build import build_models, build_score_refiner

    recording = open_recording(args.recording, scene=args.scene)
    models = build_models(config)
    start = (file_start(Path(args.init), Path(config.models), list(models)) if args.init
             else search_start(config, models))
    refiner = build_score_refiner(config, models)

    def items() -> Iterator[Refined]:
        from storm_core.bop.dataset import object_ids
        from storm_core.cli.pictures import chosen_frames
        from storm_core.evaluation.score import judged_record, true_pose
        from storm_core.score_model.results import to_record

        ids = object_ids(Path(config.models), models)
        for _, key, frame in chosen_frames(recording, args.images):
            for name, model in models.items():
                registration = start(key, name, frame)
                if registration is None:
                    continue
                begin = time.perf_counter()
                result = refiner.refine(frame, registration)
                seconds = time.perf_counter() - begin
                truth = true_pose(Path(args.recording), key, ids.get(name), registration.cam_from_obj)
                record = to_record(f"{key[0]}/{key[1]}", result, seconds)
                yield Refined(judged_record(record, model, truth), frame, 0)

    return config, models, RefineSource(items(), recording.sha256, len(recording))


def from_masks(args: argparse.Namespace, config: "StormConfig"
               ) -> "tuple[StormConfig, dict[str, ObjectModel], RefineSource]":
    """Sample from masks alone."""
    from storm_core.evaluation.dataset import open_dataset
    from storm_core.pipeline.build import build_mask_sampler, build_models

    dataset = open_dataset(Path(args.recording), models=config.models, objects=config.objects,
                           scenes=() if args.scene is None else (args.scene,), all_annotations=bool(args.split))
    config = replace(config, models=str(dataset.models), objects=dataset.names)
    models = build_models(config)
    sampler = build_mask_sampler(config, models)

    def items() -> Iterator[Refined]:
        from tqdm import tqdm

        from storm_core.evaluation.score import cases, judged_record
        from storm_core.score_model.results import to_record

        chosen = cases(dataset, config, models, args.masks, images=args.images, split=args.split)
        for number, case in enumerate(tqdm(chosen, unit="target", disable=None)):
            begin = time.perf_counter()
            result = None if case.mask is None else sampler.sample(case.frame, case.name, case.mask)
            seconds = time.perf_counter() - begin
            if result is None:
                print(f"image {case.key}: no mask with measured depth for object {case.name}", file=sys.stderr)
                continue
            yield Refined(judged_record(to_record(case.key, result, seconds), models[case.name], case.truth),
                          case.frame, number)

    return config, models, RefineSource(items(), dataset.sha256, len(dataset.images))
