"""Ground truth of a recording: BOP annotations, pose topics or tf of a bag, TUM files. Only evaluation reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from storm_core.bags.bag_truth import tf_truth, topic_truth
from storm_core.bags.folder import scene_folders
from storm_core.bags.image_files import time_of
from storm_core.bags.recording import Recording
from storm_core.bags.rosbag import BagRecording
from storm_core.bags.trajectory import STAMP_TOLERANCE_NS, read_tum
from storm_core.bags.true_poses import VISIBLE_SHARE, Instances, Truth, TruthPose, along
from storm_core.bop.cameras import SCENE_CAMERA, scene_cameras
from storm_core.bop.dataset import Annotation, read_annotations
from storm_core.errors import DatasetError

__all__ = ["VISIBLE_SHARE", "Truth", "TruthOptions", "TruthPose", "load_truth", "read_tum"]

STAMPS_FILE = "stamps.txt"
"""In a folder with annotations for another recording: one line `image_number stamp[s]` per image."""


@dataclass(frozen=True, kw_only=True)
class TruthOptions:
    """Where the ground truth is, when it is not where it is looked for by default.

    Attributes:
      topics: object name -> pose topic of the bag; None = /ground_truth/<object>, or the only such topic.
      tf: object name -> (frame of the camera, "" = that of the images; frame of the object) in the tf of the bag.
      tum: object name -> TUM trajectory of its pose in the camera.
      bop: folder of a BOP scene whose annotations belong to the frames of the recording.
    """

    topics: Mapping[str, str] | None = None
    tf: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tum: Mapping[str, Path] = field(default_factory=dict)
    bop: Path | None = None


def load_truth(recording: Recording, ids: Mapping[str, int], names: Sequence[str],
               options: TruthOptions = TruthOptions()) -> Truth | None:
    """The ground truth that belongs to a recording, None when it has none.

    Args:
      ids: object name -> BOP id, for BOP annotations. names: the objects wanted.

    Raises:
      DatasetError: what the options name is missing, damaged or does not fit the recording.
    """
    parts: list[Truth] = []
    if options.tum:
        parts.append(Truth(frames={name: along(read_tum(file), recording.stamps_ns)
                                   for name, file in options.tum.items()}, source=_files(options.tum)))
    if options.bop is not None:
        parts.append(_scene_truth(recording, options.bop, ids, names))
    if options.tf or options.topics:
        if not isinstance(recording, BagRecording):
            raise DatasetError(f"{recording.path} is a folder of images: it has no topics and no tf with ground truth")
        if options.tf:
            parts.append(tf_truth(recording, options.tf))
        if options.topics:
            parts.append(topic_truth(recording, names, options.topics) or Truth(frames={}, source=""))
    if parts:
        return Truth(frames={name: frames for part in parts for name, frames in part.frames.items()},
                     source=", ".join(part.source for part in parts))
    if isinstance(recording, BagRecording):
        return topic_truth(recording, names, None)
    return _bop_truth(recording, ids, names)


def _files(tum: Mapping[str, Path]) -> str:
    return ", ".join(str(file) for file in tum.values())


def _bop_truth(recording: Recording, ids: Mapping[str, int], names: Sequence[str]) -> Truth | None:
    """The annotations of a recording that is itself a BOP scene or several."""
    scenes = {int(s.name) if s.name.isdigit() else 0: s for s in scene_folders(recording.path)}
    wanted = {scene_id for scene_id, _ in recording.ids}
    scenes = {i: s for i, s in scenes.items() if i in wanted and (s / "scene_gt.json").exists()}
    if not scenes:
        return None
    known = {scene_id: read_annotations(scene) for scene_id, scene in scenes.items()}
    frames = [known.get(scene_id, {}).get(im_id) for scene_id, im_id in recording.ids]
    return Truth(frames=_of_objects(frames, ids, names), source="scene_gt.json")


def _scene_truth(recording: Recording, scene: Path, ids: Mapping[str, int], names: Sequence[str]) -> Truth:
    """The annotations in a folder that belong to another recording of the same frames.

    Matched by stamp where stamps.txt or image numbers that are times say when an image was taken, else one by one.
    """
    known = read_annotations(scene)
    stamps = _image_stamps(scene, known)
    if stamps is not None:
        by_stamp = sorted((stamp, im_id) for im_id, stamp in stamps.items())
        chosen = [_nearest(by_stamp, stamp) for stamp in recording.stamps_ns]
    else:
        images = sorted(scene_cameras(scene) if (scene / SCENE_CAMERA).exists() else known)
        if len(images) != len(recording):
            raise DatasetError(f"{scene} describes {len(images)} images, {recording.path} has {len(recording)} frames; "
                               f"add {STAMPS_FILE} with a line `image_number stamp_in_seconds` for each image")
        chosen = list(images)
    frames = [None if im_id is None else known.get(im_id) for im_id in chosen]
    if not any(frames):
        raise DatasetError(f"no annotation in {scene} belongs to a frame of {recording.path}; do its stamps fit?")
    return Truth(frames=_of_objects(frames, ids, names), source=str(scene / "scene_gt.json"))


def _image_stamps(scene: Path, known: Mapping[int, tuple[Annotation, ...]]) -> dict[int, int] | None:
    """{image number: stamp [ns]}, None when nothing says when the images were taken."""
    file = scene / STAMPS_FILE
    if file.exists():
        rows = [line for line in file.read_text().splitlines() if line.strip() and line[0] != "#"]
        try:
            return {int(im_id): round(Decimal(seconds) * 10**9) for im_id, seconds in map(str.split, rows)}
        except (ValueError, ArithmeticError) as error:
            raise DatasetError(f"{file} must have a line `image_number stamp_in_seconds` for each image, it begins "
                               f"with {rows[0]!r}") from error
    times = {im_id: time for im_id in known if (time := time_of(im_id)) is not None}
    return times if times and len(times) == len(known) else None


def _nearest(by_stamp: Sequence[tuple[int, int]], stamp_ns: int) -> int | None:
    """Image number with the nearest stamp, None when none is near enough."""
    at = int(np.searchsorted([s for s, _ in by_stamp], stamp_ns))
    near = [by_stamp[k] for k in (at - 1, at) if 0 <= k < len(by_stamp)]
    best = min(near, key=lambda item: abs(item[0] - stamp_ns))
    return best[1] if abs(best[0] - stamp_ns) <= STAMP_TOLERANCE_NS else None


def _of_objects(frames: Sequence[tuple[Annotation, ...] | None], ids: Mapping[str, int],
                names: Sequence[str]) -> dict[str, list[Instances]]:
    missing = [name for name in names if name not in ids]
    if missing:
        raise DatasetError(f"object {missing[0]} has no BOP id, so its ground truth cannot be found; name it by id or "
                           "add its name to models_info.json")
    return {name: [None if found is None else tuple(
        TruthPose(cam_from_obj=a.cam_from_obj, visible=a.visible, good=a.good) for a in found if a.obj_id == ids[name])
        for found in frames] for name in names}
