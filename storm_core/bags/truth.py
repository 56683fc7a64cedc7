"""Ground truth of a recording: BOP annotations, PoseStamped topics of a bag, or TUM files. Only evaluation reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.bags.decode import stamp_ns
from storm_core.bags.folder import scene_folders
from storm_core.bags.recording import Recording, is_bag
from storm_core.bags.rosbag import list_topics, open_bag
from storm_core.bags.write import TRUTH_PREFIX, topic_name
from storm_core.bop.dataset import Annotation, read_annotations
from storm_core.errors import DatasetError
from storm_core.geometry.pose import from_rotation_translation

STAMP_TOLERANCE_NS = 5_000_000
"""Largest difference of a ground-truth stamp and the frame it belongs to [ns]."""
VISIBLE_SHARE = 0.1
"""Share of the silhouette from which an object counts as visible."""
_POSE = "geometry_msgs/msg/PoseStamped"


@dataclass(frozen=True, eq=False, kw_only=True)
class TruthPose:
    """Where one instance of an object really is.

    Attributes:
      cam_from_obj: (4, 4) [m]. visible: visible share of the silhouette, nan when not known.
      good: accurate enough to measure errors against.
    """

    cam_from_obj: NDArray[np.float64]
    visible: float = float("nan")
    good: bool = True

    @property
    def is_visible(self) -> bool:
        """Visible share of at least 0.1; an object of unknown visibility counts as visible."""
        return not self.visible < VISIBLE_SHARE


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """Ground truth frame by frame.

    Attributes:
      frames: object name -> for every frame of the recording the instances of the object: () when the object is
        not in the picture, None when nothing is known about the frame.
      source: where it comes from, for reports.
    """

    frames: Mapping[str, Sequence[tuple[TruthPose, ...] | None]]
    source: str


def load_truth(recording: Recording, ids: Mapping[str, int], names: Sequence[str], *,
               gt_topics: Mapping[str, str] | None = None, tum: Path | None = None) -> Truth | None:
    """The ground truth that belongs to a recording, None when it has none.

    Args:
      ids: object name -> BOP id, for BOP scenes. names: the objects wanted.
      gt_topics: object name -> PoseStamped topic; None = /ground_truth/<object>, or the only such topic.
      tum: a TUM trajectory of cam_from_obj of the only object (stamp [s], t [m], q xyzw).
    """
    if tum is not None:
        if len(names) != 1:
            raise DatasetError(f"a TUM file is the ground truth of one object; {len(names)} are evaluated")
        return Truth(frames={names[0]: _by_stamp(read_tum(tum), recording)}, source=str(tum))
    if is_bag(recording.path):
        return _bag_truth(recording, names, gt_topics)
    return _bop_truth(recording, ids, names)


def read_tum(file: Path) -> dict[int, NDArray[np.float64]]:
    """{stamp_ns: pose (4, 4)} of a TUM trajectory."""
    try:
        rows = [line.split() for line in file.read_text().splitlines() if line.strip() and line.strip()[0] != "#"]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read TUM trajectory {file}: {error}") from error
    out: dict[int, NDArray[np.float64]] = {}
    for number, row in enumerate(rows, 1):
        try:
            tx, ty, tz, qx, qy, qz, qw = (float(v) for v in row[1:])
            # Decimal: a float of today's epoch seconds is only exact to some hundred ns.
            rotation = Rotation.from_quat([qx, qy, qz, qw]).as_matrix()
            out[round(Decimal(row[0]) * 10**9)] = from_rotation_translation(rotation, [tx, ty, tz])
        except (ValueError, ArithmeticError) as error:
            raise DatasetError(f"{file} entry {number} is not TUM (stamp tx ty tz qx qy qz qw): {error}") from error
    return out


def _bop_truth(recording: Recording, ids: Mapping[str, int], names: Sequence[str]) -> Truth | None:
    scenes = {int(s.name) if s.name.isdigit() else 0: s for s in scene_folders(recording.path)}
    wanted = {scene_id for scene_id, _ in recording.ids}
    scenes = {i: s for i, s in scenes.items() if i in wanted and (s / "scene_gt.json").exists()}
    if not scenes:
        return None
    known = {scene_id: read_annotations(scene) for scene_id, scene in scenes.items()}
    missing = [name for name in names if name not in ids]
    if missing:
        raise DatasetError(f"object {missing[0]} has no BOP id, so its ground truth cannot be found; name it by id or "
                           "add its name to models_info.json")

    def instances(name: str, frame: tuple[int, int]) -> tuple[TruthPose, ...] | None:
        annotations: tuple[Annotation, ...] | None = known.get(frame[0], {}).get(frame[1])
        if annotations is None:
            return None
        return tuple(TruthPose(cam_from_obj=a.cam_from_obj, visible=a.visible, good=a.good)
                     for a in annotations if a.obj_id == ids[name])

    return Truth(frames={name: [instances(name, frame) for frame in recording.ids] for name in names},
                 source="scene_gt.json")


def _bag_truth(recording: Recording, names: Sequence[str], given: Mapping[str, str] | None) -> Truth | None:
    with open_bag(recording.path) as reader:
        poses = sorted(n for n, info in reader.topics.items() if info.msgtype == _POSE)
        if given is None:
            topics = _discover([n for n in poses if n.startswith(TRUTH_PREFIX)], names)
        else:
            topics = dict(given)
            for topic in topics.values():
                if topic not in poses:
                    raise DatasetError(f"{recording.path} has no topic {topic} of type {_POSE}; it has: "
                                       f"{list_topics(reader)}")
        if not topics:
            return None
        name_of = {topic: name for name, topic in topics.items()}
        found: dict[str, dict[int, NDArray[np.float64]]] = {name: {} for name in topics}
        for connection, _, raw in reader.messages(
                connections=[c for c in reader.connections if c.topic in name_of]):
            message = reader.deserialize(raw, connection.msgtype)
            found[name_of[connection.topic]][stamp_ns(message)] = _matrix(message.pose, connection.topic)
    return Truth(frames={name: _by_stamp(poses_of, recording) for name, poses_of in found.items()},
                 source=", ".join(topics.values()))


def _discover(topics: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """object name -> topic: by name, or the only topic for the only object."""
    by_tail = {t.removeprefix(TRUTH_PREFIX): t for t in topics}
    out = {name: by_tail[topic_name(name)] for name in names if topic_name(name) in by_tail}
    if not out and len(topics) == len(names) == 1:
        return {names[0]: topics[0]}
    return out


def _matrix(pose: Any, source: str) -> NDArray[np.float64]:
    q = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
    if not 0.9 < np.linalg.norm(q) < 1.1:
        raise DatasetError(f"{source}: the orientation {q.tolist()} is no unit quaternion")
    return from_rotation_translation(Rotation.from_quat(q).as_matrix(),
                                     [pose.position.x, pose.position.y, pose.position.z])


def _by_stamp(poses: Mapping[int, NDArray[np.float64]],
              recording: Recording) -> list[tuple[TruthPose, ...] | None]:
    """For every frame the pose with the nearest stamp, None where none is near enough."""
    stamps = np.array(sorted(poses), np.int64)
    out: list[tuple[TruthPose, ...] | None] = []
    for stamp in recording.stamps_ns:
        low, high = np.searchsorted(stamps, [stamp - STAMP_TOLERANCE_NS, stamp + STAMP_TOLERANCE_NS + 1])
        best = min(stamps[low:high], key=lambda s: abs(int(s) - stamp), default=None)
        out.append(None if best is None else (TruthPose(cam_from_obj=poses[int(best)]),))
    return out
