"""Segmentation of one image by STORM's localizer: every wanted object, or every object there is."""

from collections.abc import Mapping, Sequence
from typing import Any

from storm_core.bop.mask_results import MaskEstimate, run_lengths
from storm_core.config import StormConfig, flatten
from storm_core.errors import DatasetError
from storm_core.evaluation.attempt import attempt
from storm_core.evaluation.dataset import Dataset
from storm_core.evaluation.images import read_image
from storm_core.evaluation.jobs import Job, Outcome, Query
from storm_core.evaluation.stages import finders
from storm_core.geometry.mesh import ObjectModel
from storm_core.types import Reason


def plan(dataset: Dataset, config: StormConfig, models: Mapping[str, ObjectModel], *, ask_all: bool) -> list[Job]:
    """One job per image. ask_all: look for every model in every image, so that finding what is not there counts."""
    hashes = {name: model.sha256 for name, model in models.items()}
    return [Job(kind="masks", images=(image,), config=flatten(config), models=hashes, queries=tuple(
        Query(name=name) for name in (models if ask_all else map(str, dataset.wanted[image.key]))))
        for image in dataset.images]


def perform(job: Job) -> Outcome:
    """One record per query; also answers below the accepted probability keep their mask, which has a score."""
    stages = finders(job.config)
    image, = job.images
    try:
        frame = read_image(image)
    except DatasetError as error:
        return {"records": [], "skipped": [{"scene_id": image.scene_id, "im_id": image.im_id, "reason": str(error)}]}
    records = []
    for query in job.queries:
        a = attempt(frame, image.key, query.name, stages.localizer, None)
        sure = a.probability >= stages.config.som.accept
        records.append({
            "scene_id": image.scene_id, "im_id": image.im_id, "object": query.name, "found": a.found and sure,
            "reason": a.reason if sure or not a.found else Reason.UNCERTAIN.value, "detail": a.detail,
            "probability": float(a.probability), "stage_ms": dict(a.stage_ms), "size": list(frame.depth.shape),
            "counts": None if a.mask is None else list(run_lengths(a.mask))})
    return {"records": records, "skipped": []}


def estimates_of(records: Sequence[Mapping[str, Any]]) -> list[MaskEstimate]:
    """The masks that were found, certain or not; the time of each is that of its whole image [s]."""
    times: dict[tuple[int, int], float] = {}
    for r in records:
        key = (r["scene_id"], r["im_id"])
        times[key] = times.get(key, 0.0) + r["stage_ms"]["total"] * 1e-3
    return [MaskEstimate(scene_id=r["scene_id"], im_id=r["im_id"], obj_id=int(r["object"]), score=r["probability"],
                         size=tuple(r["size"]), counts=tuple(r["counts"]), time_s=times[r["scene_id"], r["im_id"]])
            for r in records if r["counts"] is not None]
