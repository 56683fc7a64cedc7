"""The same recording in every container gives the same frames and the same truth; parts of one are named as such."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from storm_core.bags import messages
from storm_core.bags.message_types import typestore
from storm_core.bags.recording import open_recording
from storm_core.bags.truth import TruthOptions, load_truth
from storm_core.bags.write import DEPTH_TOPIC
from storm_core.errors import DatasetError
from test.unit.recordings.small_bags import (
    START,
    frames,
    images,
    poses,
    tf,
    track,
    write_rosbag1,
    write_rosbag2,
)

CONTAINERS: dict[str, Callable[[Path, list], Path]] = {
    "mcap": lambda p, m: write_rosbag2(p / "bag", m),
    "mcap-zstd": lambda p, m: write_rosbag2(p / "bag", m, "mcap", "STORAGE"),
    "mcap-zstd-file": lambda p, m: write_rosbag2(p / "bag", m, "mcap", "FILE"),
    "sqlite3": lambda p, m: write_rosbag2(p / "bag", m, "sqlite3"),
    "sqlite3-zstd-messages": lambda p, m: write_rosbag2(p / "bag", m, "sqlite3", "MESSAGE"),
    "sqlite3-zstd-file": lambda p, m: write_rosbag2(p / "bag", m, "sqlite3", "FILE"),
    "ros1": lambda p, m: write_rosbag1(p / "old.bag", m),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_frames_topics_and_tf(tmp_path: Path, container: str) -> None:
    moved = track()
    content = [*images(frames()), *poses("/ground_truth/cube", moved),
               *(tf(stamp, "cam", {"cube": pose}) for stamp, pose in moved.items())]
    recording = open_recording(CONTAINERS[container](tmp_path, content))
    for read, wrote in zip(recording.frames(), frames(), strict=True):
        assert np.array_equal(read.rgb, wrote.rgb) and np.allclose(read.depth, wrote.depth, atol=1e-6)
        assert (read.stamp_ns, read.frame_id) == (wrote.stamp_ns, "cam")
    chosen = [1, len(recording) - 1]
    assert [f.stamp_ns for f in recording.frames(chosen)] == [recording.stamps_ns[k] for k in chosen]
    assert not list(recording.frames([]))
    of_topic, of_tf = load_truth(recording, {}, ["cube"]), load_truth(
        recording, {}, ["cube"], TruthOptions(tf={"cube": ("", "cube")}))
    for truth in (of_topic, of_tf):
        assert truth is not None
        found = [instances[0].cam_from_obj for instances in truth.frames["cube"] if instances]
        assert np.allclose(found, list(moved.values()), atol=1e-12)


def test_compressed_depth_of_metres_is_inverse_depth(tmp_path: Path) -> None:
    """compressed_depth_image_transport: value = a / depth + b, 0 = missing; a and b stand before the PNG."""
    a, b = 100 * 101.0, 1.0 - 100 * 101.0 / 10.0
    metres = np.linspace(0.5, 5.0, 64 * 96).reshape(64, 96)
    values = np.round(a / metres + b).astype(np.uint16)
    values[0, 0] = 0
    png = cv2.imencode(".png", values)[1].tobytes()
    bags = {}
    for form in ("32FC1; compressedDepth png", "16UC1; compressedDepth png", "16UC1; compressedDepth rvl"):
        message = typestore().types["sensor_msgs/msg/CompressedImage"](
            messages.header(START, "cam"), form, np.frombuffer(struct.pack("<iff", 0, a, b) + png, np.uint8))
        color, _, info = images(frames(1))
        depth = f"{DEPTH_TOPIC}/compressedDepth", START, message
        bags[form] = write_rosbag2(tmp_path / str(len(bags)), [color, depth, info])
    inverse, counts, rvl = bags.values()
    found = next(open_recording(inverse).frames()).depth
    assert found[0, 0] == 0 and np.allclose(found[1:], metres[1:], rtol=2e-3)
    assert np.allclose(next(open_recording(counts).frames()).depth, values * 1e-3)
    with pytest.raises(DatasetError, match=f"{DEPTH_TOPIC}/compressedDepth: .*rvl.*format to png"):
        open_recording(rvl)


@pytest.mark.parametrize(("container", "complaint"), [
    ("sqlite3-zstd-file", "compressed file of a rosbag2.*pass the folder {folder}$"),
    ("mcap-zstd-file", "compressed file of a rosbag2.*pass the folder {folder}$"),
    ("sqlite3-zstd-messages", "messages in .* are compressed.*pass the folder {folder}$"),
    ("ros1", "holds ROS 1 bags.*pass one of them"),
])
def test_a_part_of_a_whole_bag_is_not_called_damaged(tmp_path: Path, container: str, complaint: str) -> None:
    bag = CONTAINERS[container](tmp_path, images(frames(2)))
    part = bag.parent if bag.is_file() else next(p for p in bag.iterdir() if p.name != "metadata.yaml")
    with pytest.raises(DatasetError, match=complaint.format(folder=bag)):
        open_recording(part)


def test_a_bag_folder_without_metadata_says_so(tmp_path: Path) -> None:
    bag = CONTAINERS["sqlite3"](tmp_path, images(frames(2)))
    file = next(p for p in bag.iterdir() if p.name != "metadata.yaml")
    (bag / "metadata.yaml").unlink()
    with pytest.raises(DatasetError, match=f"no metadata.yaml.*ros2 bag reindex {bag}.*or pass its file {file}"):
        open_recording(bag)
    assert len(open_recording(file)) == 2
