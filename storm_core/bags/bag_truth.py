"""Ground truth in a bag: pose topics, and tf between the camera and an object."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from storm_core.bags.pose_topics import SINGLE_TYPES, StampedPose, by_name, require_topic, topic_poses
from storm_core.bags.rosbag import BagRecording, open_bag
from storm_core.bags.transforms import TransformTree, read_tree
from storm_core.bags.true_poses import Instances, Truth, along, single_instances
from storm_core.bags.write import TRUTH_PREFIX
from storm_core.errors import DatasetError


def topic_truth(recording: BagRecording, names: Sequence[str], given: Mapping[str, str] | None) -> Truth | None:
    """Poses on topics, None when there is no such topic.

    Args:
      given: object name -> topic; None = /ground_truth/<object>, or the only such topic for the only object.
    """
    with open_bag(recording.path) as reader:
        found = {n.removeprefix(TRUTH_PREFIX): n for n, info in sorted(reader.topics.items())
                 if n.startswith(TRUTH_PREFIX) and info.msgtype in SINGLE_TYPES}
        topics = by_name(given, found, names)
        for topic in topics.values():
            require_topic(reader, recording.path, topic, SINGLE_TYPES)
        if not topics:
            return None
        poses: dict[str, list[StampedPose]] = {topic: [] for topic in topics.values()}
        for topic, pose in topic_poses(reader, list(poses)):
            poses[topic].append(pose)
        tree = tree_for(reader, recording, [p for found in poses.values() for p in found])
    return Truth(frames={name: along(in_camera(poses[topic], recording, tree, topic), recording.stamps_ns)
                         for name, topic in topics.items()}, source=", ".join(topics.values()))


def tf_truth(recording: BagRecording, frames: Mapping[str, tuple[str, str]]) -> Truth:
    """Poses composed of the transforms between the camera and an object at the stamp of each image.

    Args:
      frames: object name -> (frame of the camera, "" = that of the images; frame of the object).
    """
    with open_bag(recording.path) as reader:
        tree = read_tree(reader)
    chains = {name: (camera or recording.frame_id, obj) for name, (camera, obj) in frames.items()}
    return Truth(frames={name: _looked_up(tree, recording, *chain) for name, chain in chains.items()},
                 source=", ".join(f"tf {camera} -> {obj}" for camera, obj in chains.values()))


def tree_for(reader: AnyReader, recording: BagRecording, poses: Iterable[StampedPose]) -> TransformTree:
    """The tf of the bag, without reading it when all poses are given in the camera's frame anyway."""
    if all(p.frame_id in ("", recording.frame_id) for p in poses):
        return TransformTree({}, {})
    return read_tree(reader)


def in_camera(poses: Sequence[StampedPose], recording: BagRecording, tree: TransformTree,
              source: str) -> dict[int, NDArray[np.float64]]:
    """{stamp_ns: cam_from_obj}; poses given in another frame are moved to the camera's by tf.

    Raises:
      DatasetError: a pose is given in a frame that tf does not connect with the camera's.
    """
    out: dict[int, NDArray[np.float64]] = {}
    for frame in sorted({p.frame_id for p in poses}):
        there = [p for p in poses if p.frame_id == frame]
        stamps = [p.stamp_ns for p in there]
        if frame in ("", recording.frame_id):
            out |= dict(zip(stamps, (p.frame_from_obj for p in there), strict=True))
            continue
        if not tree.connects(recording.frame_id, frame):
            raise DatasetError(f"{recording.path}: poses on {source} are given in frame {frame!r}, the images in "
                               f"{recording.frame_id!r}, and the tf of the bag does not connect the two")
        camera_from_frame, known = tree.lookup(recording.frame_id, frame, stamps)
        out |= {s: camera_from_frame[k] @ p.frame_from_obj for k, (s, p) in enumerate(zip(stamps, there, strict=True))
                if known[k]}
    return out


def _looked_up(tree: TransformTree, recording: BagRecording, camera: str, obj: str) -> list[Instances]:
    try:
        return single_instances(*tree.lookup(camera, obj, recording.stamps_ns))
    except DatasetError as error:
        raise DatasetError(f"{recording.path}: {error}; give the frames as --gt-tf PARENT:CHILD") from error
