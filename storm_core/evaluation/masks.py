"""Segmentation of one image by STORM: every wanted object, or every object there is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from storm_core.bop.mask_results import MaskEstimate, run_lengths
from storm_core.config import StormConfig, flatten
from storm_core.errors import DatasetError
from storm_core.evaluation.attempt import attempt
from storm_core.evaluation.dataset import Dataset
from storm_core.evaluation.images import read_image, scene_images
from storm_core.evaluation.jobs import Job, Outcome, Query
from storm_core.evaluation.stages import Finders, finders
from storm_core.evidence.explained import without
from storm_core.evidence.silhouette import modal_mask
from storm_core.geometry.mesh import ObjectModel
from storm_core.report.attempts import Attempt, Key
from storm_core.simulation.benchmark import Benchmark
from storm_core.types import Frame, Reason

Questions = Mapping[Key, Mapping[str, int]]
"""(scene_id, im_id) -> object -> instances looked for."""


def with_absences(dataset: Dataset, benchmark: Benchmark | None, names: Sequence[str]) -> Dataset:
    """The dataset with the images of those benchmark scenes whose own object, one of `names`, is not there.

    Images that --max-images leaves out stay out.
    """
    known = {image.key for image in dataset.images}
    if benchmark is None or not known:
        return dataset
    last = max(known)[0] if dataset.left_out else max(dataset.scenes)
    more = [image for number, scene in benchmark.scenes.items()
            if number in dataset.scenes and number <= last and not scene.present and str(scene.target) in names
            for image in scene_images(dataset.scenes[number]) if image.key not in known]
    return replace(dataset, images=tuple(sorted((*dataset.images, *more), key=lambda image: image.key)))


def questions(dataset: Dataset, benchmark: Benchmark | None, names: Sequence[str], *, ask_all: bool,
              ignored: Collection[tuple[Key, str]] = ()) -> Questions:
    """What is asked of each image: its targets; of a benchmark what its scene is about, there or not.

    Args:
      ask_all: ask for every one of `names` in every image, so that finding what is not there counts.
      ignored: (image, object) that nobody asks for.
    """
    def of(key: Key) -> dict[str, int]:
        wanted = {str(obj_id): count for obj_id, count in dataset.wanted.get(key, {}).items()}
        if ask_all:
            return {name: wanted.get(name, 1) for name in names}
        return wanted if benchmark is None else wanted or {str(benchmark.scenes[key[0]].target): 1}

    return {image.key: {name: count for name, count in of(image.key).items() if (image.key, name) not in ignored}
            for image in dataset.images}


def plan(dataset: Dataset, config: StormConfig, models: Mapping[str, ObjectModel], asked: Questions, *,
         register: bool) -> list[Job]:
    """One job per image. register: the answer is that of localizer and registration together."""
    hashes = {name: model.sha256 for name, model in models.items()}
    return [Job(kind="masks", images=(image,), config=flatten(config), models=hashes, queries=tuple(
        Query(name=name, count=count, register=register) for name, count in asked[image.key].items()))
        for image in dataset.images]


def perform(job: Job) -> Outcome:
    """One record per instance that was looked for; also answers below the accepted probability keep their mask."""
    stages = finders(job.config)
    image, = job.images
    try:
        frame = read_image(image)
    except DatasetError as error:
        return {"records": [], "skipped": [{"scene_id": image.scene_id, "im_id": image.im_id, "reason": str(error)}]}
    return {"records": [record for query in job.queries for record in _searched(frame, image.key, query, stages)],
            "skipped": []}


def _searched(frame: Frame, key: Key, query: Query, stages: Finders) -> list[dict[str, Any]]:
    """Look for `query.count` instances one after the other; those found are out of the way of the next."""
    out = []
    for _ in range(query.count):
        a = attempt(frame, key, query.name, stages.localizer, stages.registrar if query.register else None)
        if a.cam_from_obj is not None:
            # The registered pose is finer than the one that the localizer cut its mask with.
            a = replace(a, mask=modal_mask(frame, stages.models[query.name], a.cam_from_obj))
        out.append(_record(a, frame, a.probability >= stages.config.som.accept))
        if not out[-1]["found"]:
            break
        frame = without(frame, a.mask)
    return out


def _record(a: Attempt, frame: Frame, sure: bool) -> dict[str, Any]:
    return {"scene_id": a.key[0], "im_id": a.key[1], "object": a.object_name, "found": a.found and sure,
            "reason": a.reason if sure or not a.found else Reason.UNCERTAIN.value, "detail": a.detail,
            "probability": float(a.probability), "stage_ms": dict(a.stage_ms), "size": list(frame.depth.shape),
            "counts": None if a.mask is None else list(run_lengths(a.mask)),
            "cam_from_obj": None if a.cam_from_obj is None else a.cam_from_obj.tolist()}


def estimates_of(records: Sequence[Mapping[str, Any]]) -> list[MaskEstimate]:
    """The masks that were found, certain or not; the time of each is that of its whole image [s]."""
    times: dict[tuple[int, int], float] = {}
    for r in records:
        key = (r["scene_id"], r["im_id"])
        times[key] = times.get(key, 0.0) + r["stage_ms"]["total"] * 1e-3
    return [MaskEstimate(scene_id=r["scene_id"], im_id=r["im_id"], obj_id=int(r["object"]), score=r["probability"],
                         size=tuple(r["size"]), counts=tuple(r["counts"]), time_s=times[r["scene_id"], r["im_id"]])
            for r in records if r["counts"] is not None]
