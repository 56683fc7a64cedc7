"""Shared memory of killed nodes is given back, that of living ones is not touched."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storm_ros.dds import PROFILE_VARIABLES, segment_size, shared_memory_size
from storm_ros.shared_memory import abandoned_segments, remove_abandoned


def make_segment(folder, name):
    (folder / name).write_bytes(bytes(8192))
    (folder / f"{name}_el").touch()
    os.utime(folder / f"{name}_el", (0, 0))
    return folder / name


def test_only_segments_without_an_owner_are_removed(tmp_path):
    dead, alive = (make_segment(tmp_path, f"fastdds_{i * 16}") for i in "0a")
    other = make_segment(tmp_path, "somebody_else")
    with open(f"{alive}_el") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert abandoned_segments(tmp_path) == (dead,)
        assert remove_abandoned(tmp_path) >= 8192
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            name for path in (alive, other) for name in (path.name, f"{path.name}_el"))
    assert abandoned_segments(tmp_path) == (alive,)


def test_a_lock_file_whose_segment_is_gone_is_tidied_up(tmp_path):
    make_segment(tmp_path, "fastdds_0123456789abcdef").unlink()
    assert remove_abandoned(tmp_path) == 0 and not list(tmp_path.iterdir())


def test_a_participant_that_starts_right_now_is_left_alone(tmp_path):
    segment = make_segment(tmp_path, "fastdds_0123456789abcdef")
    os.utime(f"{segment}_el")
    assert abandoned_segments(tmp_path) == ()


def test_no_shared_memory_is_no_segments(tmp_path):
    assert abandoned_segments(tmp_path / "absent") == ()


@pytest.mark.ros
def test_a_killed_node_leaves_a_segment_that_we_recognise():
    pytest.importorskip("rclpy")
    if segment_size(shared_memory_size()) is None:
        pytest.skip("/dev/shm of this machine is too small for shared memory")
    script = ("from storm_ros.dds import prepare_environment\nprepare_environment()\nimport rclpy, time\nrclpy.init()\n"
              "node = rclpy.create_node('victim')\nprint('ready', flush=True)\ntime.sleep(60)\n")
    env = {k: v for k, v in os.environ.items() if k not in PROFILE_VARIABLES} | {"ROS_DOMAIN_ID": "73"}
    node = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert node.stdout.readline().strip() == "ready"
        maps = Path(f"/proc/{node.pid}/maps").read_text()
        segment = Path(re.search(r"/dev/shm/fast(dds|rtps)_[0-9a-f]{16}(?=\n)", maps).group())
        time.sleep(1.1)
        assert segment not in abandoned_segments()
    finally:
        node.send_signal(signal.SIGKILL)
        node.wait()
        node.stdout.close()
    # Another graph on this machine may have tidied up before us.
    assert segment in abandoned_segments() or not segment.exists()
    remove_abandoned()
    assert not segment.exists()
