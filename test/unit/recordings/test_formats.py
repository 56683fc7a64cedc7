"""The same recording in every container gives the same frames and the same truth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from storm_core.bags.recording import open_recording
from storm_core.bags.truth import TruthOptions, load_truth
from test.unit.recordings.small_bags import (
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
