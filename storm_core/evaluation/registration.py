"""Registration of the targets of one image, each from a fresh search or from a mask that is given."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.errors import DatasetError
from storm_core.evaluation.attempt import attempt
from storm_core.evaluation.images import read_image
from storm_core.evaluation.jobs import Job, Outcome
from storm_core.evaluation.stages import finders
from storm_core.report.attempts import Attempt
from storm_core.types import Frame, Hint


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
        for hint_file in query.masks or (None,):
            try:
                hint = Hint() if hint_file is None else Hint(mask=read_mask(Path(hint_file), frame))
            except DatasetError as error:
                skipped.append({**place, "object": query.name, "reason": str(error)})
                continue
            records.append(_record(attempt(frame, image.key, query.name, stages.localizer, stages.registrar,
                                           hint=hint)))
    return {"records": records, "skipped": skipped}


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
