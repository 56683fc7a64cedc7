"""STORM over a whole scene as a sequence: search, track, watch, recover."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.bags.folder import SCENE_GAP_S
from storm_core.bags.recording import FRAME_RATE
from storm_core.bags.true_poses import Truth
from storm_core.config import StormConfig, build, flatten
from storm_core.errors import DatasetError
from storm_core.evaluation.dataset import Dataset
from storm_core.evaluation.images import ImageFiles, read_image, scene_images
from storm_core.evaluation.jobs import Job, Outcome, Query
from storm_core.evaluation.sequences import SceneRows, scene_rows
from storm_core.evaluation.stages import sequence_models
from storm_core.evaluation.strata import find_benchmark
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.pipeline.build import build_pipeline
from storm_core.recovery.machine import State
from storm_core.report.jsonl import read_jsonl, write_jsonl
from storm_core.types import Evidence, Frame, ObjectOutput, Reason, StepOutput

VARIANTS = {"full": (True, True), "no_monitor": (False, True), "no_reregistration": (True, False),
            "neither": (False, False)}
"""Name -> (with TOM, with re-registration)."""


def variant_config(config: StormConfig, variant: str) -> StormConfig:
    """The configuration with TOM and re-registration switched as the variant says."""
    monitor, reregister = VARIANTS[variant]
    return replace(config, monitor=replace(config.monitor, enable=monitor),
                   recovery=replace(config.recovery, reregister=reregister))


def plan(dataset: Dataset, config: StormConfig, models: Mapping[str, ObjectModel]) -> list[Job]:
    """One job per scene, with all its images and the objects that are targets in it.

    When --max-images leaves targets out, a scene ends at its last target that is left. Stamps follow the frame rate
    that a benchmark states, and stay what they are when the dataset holds every so many-th image only.
    """
    jobs = []
    start_ns = 0
    benchmark = find_benchmark(dataset.root)
    for scene_id in dict.fromkeys(image.scene_id for image in dataset.images):
        names = tuple(str(i) for i in sorted({t[2] for t in dataset.targets if t[0] == scene_id}))
        last = max(image.im_id for image in dataset.images if image.scene_id == scene_id)
        rate = FRAME_RATE if benchmark is None else benchmark.scenes[scene_id].rate_hz
        images = tuple(replace(image, stamp_ns=image.stamp_ns + start_ns)
                       for image in sequence_images(dataset.scenes[scene_id], rate)[::dataset.stride]
                       if image.im_id <= last or not dataset.left_out)
        start_ns = images[-1].stamp_ns + round(SCENE_GAP_S * 1e9)
        jobs.append(Job(kind="system", images=images, queries=tuple(Query(name=name) for name in names),
                        config=flatten(replace(config, objects=names)),
                        models={name: models[name].sha256 for name in names}))
    return jobs


def sequence_images(scene: Path, rate_hz: float) -> tuple[ImageFiles, ...]:
    """All images of a scene, stamped as a camera of that rate takes them."""
    return tuple(replace(image, stamp_ns=round((1.0 + image.im_id / rate_hz) * 1e9)) for image in scene_images(scene))


def perform(job: Job) -> Outcome:
    """Every image in order through one pipeline; nothing is published for an image that cannot be read.

    `records`: [{jsonl, stage_ms}], the published outputs.
    """
    config: StormConfig = build(job.config)
    pipeline = build_pipeline(config, sequence_models(config))
    outputs: list[StepOutput] = []
    skipped: list[dict[str, Any]] = []
    for image in job.images:
        try:
            frame = read_image(image)
        except DatasetError as error:
            skipped.append({"scene_id": image.scene_id, "im_id": image.im_id, "reason": str(error)})
            outputs.append(StepOutput(stamp_ns=image.stamp_ns, objects=(), transitions=(), stage_ms={}))
        else:
            outputs.append(pipeline.step(frame))
    return {"records": [_packed([image.key for image in job.images], outputs)], "skipped": skipped}


def sequence_rows(dataset: Dataset, jobs: Sequence[Job], outcomes: Sequence[Outcome],
                  models: Mapping[str, ObjectModel]) -> list[SceneRows]:
    """What finished jobs reached, one entry per scene and object that it was searched for."""
    rows = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        names = [query.name for query in job.queries]
        scene, outputs = job.images[0].scene_id, outputs_of(outcome, names)
        rows += [scene_rows(scene, name, outputs, dataset.annotations[scene], [i.im_id for i in job.images],
                            models[name]) for name in names]
    return rows


def truth_of_searched(truth: Truth | None, jobs: Sequence[Job]) -> Truth | None:
    """The truth without what stands in scenes that were not searched for it: nothing can be said about it there."""
    if truth is None:
        return None
    searched = [{query.name for query in job.queries} for job in jobs for _ in job.images]
    return replace(truth, frames={name: [known if name in here else None
                                         for known, here in zip(frames, searched, strict=True)]
                                  for name, frames in truth.frames.items()})


def outputs_of(outcome: Outcome, names: Sequence[str]) -> tuple[StepOutput, ...]:
    """The published outputs of a finished job. Of `names`, those that its scene was not searched for are disabled."""
    packed, = outcome["records"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.jsonl"
        file.write_text(packed["jsonl"])
        outputs = read_jsonl(file).outputs
    return tuple(replace(_completed(o, names), stage_ms=dict(ms))
                 for o, ms in zip(outputs, packed["stage_ms"], strict=True))


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneSequence:
    """The images of the scenes, one after the other, as a `Recording` that damaged images do not stop."""

    path: Path
    name: str
    sha256: str
    images: Sequence[ImageFiles]

    @property
    def ids(self) -> tuple[tuple[int, int], ...]:
        return tuple(image.key for image in self.images)

    @property
    def stamps_ns(self) -> tuple[int, ...]:
        return tuple(image.stamp_ns for image in self.images)

    def frames(self, only: Collection[int] | None = None) -> Iterator[Frame]:
        """The frames; a black one, with the last known camera, stands for an image that cannot be read."""
        camera = PinholeCamera(640, 480, 600.0, 600.0, 319.5, 239.5)
        for k, image in enumerate(self.images):
            if only is not None and k not in only:
                continue
            try:
                frame = read_image(image)
            except DatasetError:
                shape = (camera.height, camera.width)
                frame = Frame(rgb=np.zeros((*shape, 3), np.uint8), depth=np.zeros(shape, np.float32), camera=camera,
                              stamp_ns=image.stamp_ns)
            camera = frame.camera
            yield frame

    def __len__(self) -> int:
        return len(self.images)


def _packed(ids: Sequence[tuple[int, int]], outputs: Sequence[StepOutput]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.jsonl"
        write_jsonl(file, ids, outputs)
        return {"jsonl": file.read_text(), "stage_ms": [dict(o.stage_ms) for o in outputs]}


def _completed(output: StepOutput, names: Sequence[str]) -> StepOutput:
    """With every object of `names`, unless nothing at all was published."""
    known = {item.object_name: item for item in output.objects}
    if not known:
        return output
    return replace(output, objects=tuple(known.get(name) or ObjectOutput(
        object_name=name, stamp_ns=output.stamp_ns, state=State.DISABLED.value, reason=Reason.USER_DISABLED,
        cam_from_obj=None, covariance=None, probability=0.0, trusted=False, coasting=False, evidence=Evidence())
        for name in names))
