"""Collects what is suspicious about a run: its poses, and images that repeat bit by bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.bags.folder import scene_folders
from storm_core.bags.image_files import pair_images
from storm_core.bags.recording import Recording, is_bag
from storm_core.bags.rosbag import open_bag
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.pose_error_batch import extreme_points
from storm_core.metrics.suspicion import FEW, WARNING, Published, suspicions
from storm_core.report.frame_errors import TruthMatch
from storm_core.report.series import ObjectSeries
from storm_core.types import Reason, StepOutput

_POINTS = 24


def pose_suspicions(name: str, series: ObjectSeries, match: TruthMatch | None, model: ObjectModel,
                    camera: PinholeCamera | None) -> list[dict[str, Any]]:
    """Findings {finding, level, object, frames, detail} about one object's trusted poses."""
    extremes = extreme_points(model.eval_vertices)
    points = extremes[np.linspace(0, len(extremes) - 1, min(len(extremes), _POINTS)).round().astype(int)]
    trusted = series.trusted[:, None, None]
    nothing = np.full_like(series.cam_from_obj, np.nan)
    found = suspicions(Published(
        cam_from_obj=np.where(trusted, series.cam_from_obj, np.nan), stamps_ns=series.stamps_ns,
        pose_stamps_ns=series.pose_stamps_ns, probability=series.probability,
        truth=nothing if match is None else match.truth, points=points, diameter=model.diameter, camera=camera))
    return [{"finding": f.finding, "level": f.level, "object": name, "frames": f.frames, "detail": f.detail}
            for f in found]


def input_suspicions(recording: Recording, outputs: list[StepOutput] | tuple[StepOutput, ...]) -> list[dict[str, Any]]:
    """FROZEN_INPUT: neighbouring colour images are the same to the last bit, or the system itself said so."""
    repeated = repeated_images(recording, len(outputs))
    said = sum(any(i.reason is Reason.FROZEN_INPUT for i in o.objects) for o in outputs)
    if max(repeated, said) < FEW:
        return []
    detail = f"{repeated} colour images repeat the one before bit by bit; no real sensor does that"
    if said:
        detail += f"; the system noticed in {said} frames"
    return [{"finding": "FROZEN_INPUT", "level": WARNING, "object": None, "frames": max(repeated, said),
             "detail": detail}]


def repeated_images(recording: Recording, frames: int) -> int:
    """Number of the first `frames` colour images that equal the one before, compared as stored: none is decoded."""
    count = 0
    before = b""
    for data in _bag_images(recording, frames) if is_bag(recording.path) else _file_images(recording, frames):
        count += data == before
        before = data
    return count


def _file_images(recording: Recording, frames: int) -> Iterator[bytes]:
    """Contents of image files; of those whose size nothing else near has, only a name that differs."""
    scenes: dict[int, dict[int, Path]] = {}
    for folder in scene_folders(recording.path):
        scenes[int(folder.name) if folder.name.isdigit() else 0] = {p.number: p.rgb for p in pair_images(folder)}
    files = [scenes[scene_id][im_id] for scene_id, im_id in recording.ids[:frames]]
    sizes = [0, *(f.stat().st_size for f in files), 0]
    for k, file in enumerate(files, 1):
        alike = sizes[k] in (sizes[k - 1], sizes[k + 1])
        yield file.read_bytes() if alike else str(file).encode()


def _bag_images(recording: Recording, frames: int) -> Iterator[bytes]:
    """Second halves of image messages: pixels without the header, whose stamp always differs."""
    topic = getattr(recording, "image_topic", None)
    with open_bag(recording.path) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        for k, (_, _, raw) in enumerate(reader.messages(connections=connections)):
            if k >= frames:
                return
            yield bytes(raw[len(raw) // 2:])
