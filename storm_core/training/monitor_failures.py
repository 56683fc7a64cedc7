"""Labelled failures from any recording with ground truth: faults are put into its clips, and the poses kept as lessons.

Two kinds of lessons come from the same frames: records (crop and render, for the small network) and pairs of pictures
(a crop that was right beside one that may not be, for the pair model).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from storm_core.bop.dataset import read_annotations
from storm_core.errors import DatasetError
from storm_core.evaluation.failures.causes import Cause, FaultEvent, plan_event
from storm_core.evaluation.failures.play import Clip, clip_of, faulty
from storm_core.evaluation.images import ImageFiles, read_image
from storm_core.geometry.mesh import ObjectModel
from storm_core.monitor.crop import PLANES, SIDE, crop_of
from storm_core.monitor.square_crop import square_crop
from storm_core.report.atomic import whole_file
from storm_core.training.monitor_records import records_file
from storm_core.training.monitor_scenes import LEAST_VISIBLE, RIGHT, WRONG, Kind, Records

PAIRS, PICTURES, RECORDS = "pairs.jsonl", "crops", "records"
PICTURE_PX = 224
"""Side of the pictures of a pair [px]."""

REFERENCES = 4
"""Crops of the healthy clip that the others are compared with, evenly spread."""

KINDS = {Cause.DRIFT: Kind.SHIFT, Cause.JUMP: Kind.SHIFT, Cause.WRONG_OBJECT: Kind.NEIGHBOUR, Cause.FLIP: Kind.FLIP,
         Cause.TEXTURE_TURN: Kind.TWIN}
"""What a record of a wrong pose is an example of; wrong poses of other causes are shifts."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Lesson:
    """One judged pose. error: MSSD / diameter. visible: share of the silhouette."""

    cause: Cause
    crop: np.ndarray
    picture: np.ndarray
    error: float
    visible: float


def lessons_of(clip: Clip, model: ObjectModel, event: FaultEvent, every: int) -> Iterator[Lesson]:
    """Every `every`-th frame of the event (of the clip, without one) that shows what is right; no edge cases."""
    made = faulty(clip, event, model)
    if made is None:
        return
    pictures, fed, labels = made
    span = event.span if len(event.span) else range(len(pictures.frames))
    for k in span[::every]:
        seen = 1.0 if np.isnan(labels.visible[k]) else float(labels.visible[k])
        if not labels.judged[k] or seen < LEAST_VISIBLE or RIGHT < labels.error[k] < WRONG:
            continue
        frame, pose = pictures.frames[k], fed.poses[k]
        yield Lesson(cause=event.cause, crop=crop_of(frame, model, pose), error=float(labels.error[k]), visible=seen,
                     picture=square_crop(frame, model, pose, PICTURE_PX))


def write_lessons(images: Sequence[ImageFiles], models: dict[str, ObjectModel], causes: Sequence[Cause], out: Path, *,
                  split: str, seed: int, every: int) -> dict[str, int]:
    """Pairs and records of one scene, beside those that `out` holds; returns how many lessons each cause gave.

    Args:
      images: of the scene, in order of time. models: by BOP id as text.

    Raises:
      DatasetError: no object of the scene gives a lesson (says why).
    """
    scene = Path(images[0].folder)
    annotations, frames = read_annotations(scene), [(image, read_image(image)) for image in images]
    number = next(k for k in count() if not records_file(out / RECORDS, split, seed, k).exists())
    parts: list[Lesson] = []
    rows: list[dict[str, Any]] = []
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    reasons = []
    for name, model in models.items():
        clip = clip_of(frames, annotations, int(name), models)
        if isinstance(clip, str):
            reasons.append(f"object {name}: {clip}")
            continue
        healthy = [lesson for lesson in lessons_of(clip, model, plan_event(Cause.NONE, len(clip.known), _seed(
            seed, images, name)), every) if lesson.error <= RIGHT]
        if not healthy:
            reasons.append(f"object {name}: never {LEAST_VISIBLE:.0%} visible")
            continue
        stem = f"{split}{number:05d}_{name}"
        chosen = np.linspace(0, len(healthy) - 1, min(REFERENCES, len(healthy))).round().astype(int)
        references = [_picture(out, f"{stem}_reference{k}", healthy[k]) for k in chosen]
        for cause in causes:
            event = plan_event(cause, len(clip.known), _seed(seed, images, name))
            lessons = healthy if cause is Cause.NONE else list(lessons_of(clip, model, event, every))
            parts += lessons
            for k, lesson in enumerate(lessons):
                rows.append({"img1": references[k % len(references)], "label": int(lesson.error <= RIGHT),
                             "img2": _picture(out, f"{stem}_{cause.value}{k}", lesson), "cause": cause.value,
                             "error": round(lesson.error, 4)})
    if not parts:
        raise DatasetError(f"nothing can be learnt from {scene}: {'; '.join(reasons) or 'no objects'}")
    with (out / PAIRS).open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    _write_records(records_file(out / RECORDS, split, seed, number), parts, images[0].scene_id)
    return {cause.value: sum(part.cause is cause for part in parts) for cause in causes}


def _seed(seed: int, images: Sequence[ImageFiles], name: str) -> tuple[int, ...]:
    return (seed, images[0].scene_id, int(name))


def _picture(out: Path, stem: str, lesson: Lesson) -> str:
    """Write the picture of a lesson; its path relative to `out`."""
    file = f"{PICTURES}/{stem}.png"
    cv2.imwrite(str(out / file), lesson.picture[..., ::-1])
    return file


def _write_records(file: Path, parts: Sequence[Lesson], scene: int) -> None:
    kinds = [Kind.RIGHT if part.error <= RIGHT else KINDS.get(part.cause, Kind.SHIFT) for part in parts]
    records = Records(
        crops=np.stack([part.crop for part in parts]).reshape(-1, PLANES, SIDE, SIDE),
        error=np.array([part.error for part in parts], np.float32), kind=np.array(kinds, np.uint8),
        visible=np.array([part.visible for part in parts], np.float32),
        scene=np.full(len(parts), scene, np.int32))
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as path, path.open("wb") as stream:
        np.savez(stream, **{f.name: getattr(records, f.name) for f in fields(Records)})
