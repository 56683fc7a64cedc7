"""Registration of the targets of one image, each from a fresh search or from a mask that is given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.config import StormConfig, flatten
from storm_core.errors import DatasetError
from storm_core.evaluation.attempt import attempt
from storm_core.evaluation.dataset import Dataset
from storm_core.evaluation.images import ImageFiles, read_image
from storm_core.evaluation.jobs import Job, Outcome, Query
from storm_core.evaluation.stages import Finders, finders
from storm_core.evidence.explained import without
from storm_core.evidence.silhouette import modal_mask
from storm_core.geometry.mesh import ObjectModel
from storm_core.report.attempts import Attempt, Key
from storm_core.types import Frame, Hint


def plan(dataset: Dataset, config: StormConfig, models: Mapping[str, ObjectModel], *, given_masks: bool) -> list[Job]:
    """One job per image.

    Args:
      given_masks: the visible mask of each annotated instance says where it is; otherwise STORM searches as many
        instances as the targets list.
    """
    hashes = {name: model.sha256 for name, model in models.items()}
    return [Job(kind="registration", images=(image,), config=flatten(config), models=hashes, queries=tuple(
        Query(name=str(obj_id), masks=_masks(dataset, image, obj_id, count) if given_masks else None, count=count)
        for obj_id, count in dataset.wanted[image.key].items())) for image in dataset.images]


def _masks(dataset: Dataset, image: ImageFiles, obj_id: int, count: int) -> tuple[str, ...]:
    """Files of the masks of the `count` best visible instances; BOP counts its targets in the same way."""
    instances = dataset.annotations[image.scene_id].get(image.im_id, ())
    numbers = [k for k, a in enumerate(instances) if a.obj_id == obj_id]
    numbers.sort(key=lambda k: -np.nan_to_num(instances[k].visible, nan=1.0))
    folder = Path(image.folder) / "mask_visib"
    return tuple(str(folder / f"{image.im_id:06d}_{k:06d}.png") for k in sorted(numbers[:count]))


def perform(job: Job) -> Outcome:
    """One record per attempt; what cannot be tried is skipped by name."""
    stages = finders(job.config)
    image, = job.images
    records: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    place = {"scene_id": image.scene_id, "im_id": image.im_id}
    try:
        frame = read_image(image)
    except DatasetError as error:
        return {"records": [], "skipped": [{**place, "reason": str(error)}]}
    for query in job.queries:
        if query.masks is None:
            records += _searched(frame, image.key, query, stages)
        for hint_file in query.masks or ():
            try:
                hint = Hint(mask=read_mask(Path(hint_file), frame))
            except DatasetError as error:
                skipped.append({**place, "object": query.name, "reason": str(error)})
                continue
            records.append(_record(attempt(frame, image.key, query.name, stages.localizer, stages.registrar,
                                           hint=hint)))
    return {"records": records, "skipped": skipped}


def _searched(frame: Frame, key: Key, query: Query, stages: Finders) -> list[dict[str, Any]]:
    """Search `query.count` instances one after the other; those found are out of the way of the next."""
    result = attempt(frame, key, query.name, stages.localizer, stages.registrar)
    records = [_record(result)]
    while len(records) < query.count and result.cam_from_obj is not None:
        frame = without(frame, modal_mask(frame, stages.models[query.name], result.cam_from_obj))
        result = attempt(frame, key, query.name, stages.localizer, stages.registrar)
        records.append(_record(result))
    return records


def read_mask(file: Path, frame: Frame) -> NDArray[np.bool_]:
    """A mask image as (H, W) bool.

    Raises:
      DatasetError: missing, damaged or of another size than the frame.
    """
    if not file.exists():
        raise DatasetError(f"{file} is missing")
    pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise DatasetError(f"{file} cannot be decoded; the image is damaged or no image")
    if pixels.shape != frame.depth.shape:
        raise DatasetError(f"{file} is {pixels.shape[1]}x{pixels.shape[0]} but its image is {frame.depth.shape[1]}x"
                           f"{frame.depth.shape[0]}")
    return pixels > 0


def _record(a: Attempt) -> dict[str, Any]:
    return {"scene_id": a.key[0], "im_id": a.key[1], "object": a.object_name, "found": a.found, "reason": a.reason,
            "detail": a.detail, "probability": float(a.probability), "stage_ms": dict(a.stage_ms),
            "cam_from_obj": None if a.cam_from_obj is None else a.cam_from_obj.tolist()}
