"""Recorded frames go out as a camera would send them."""

import json
import os
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import cv2
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image

from storm_core.errors import DatasetError
from storm_ros import conversions
from storm_ros.graph import CANNOT_START
from storm_ros.playback import Pacer, ahead, shot_of, stamped, to_and_fro
from test.ros.domain import DOMAIN
from test.ros.fakes import frame_at

ROOT = Path(__file__).resolve().parents[2]


def test_a_stamp_is_written_into_serialised_messages():
    shot = shot_of(frame_at(5))
    for serialised, kind in ((shot.image, Image), (shot.depth, Image), (shot.info, CameraInfo)):
        message = deserialize_message(stamped(serialised, 1_795_231_077_422_537_638), kind)
        assert conversions.stamp_ns(message.header.stamp) == 1_795_231_077_422_537_638
        assert message.header.frame_id == "optical" and message.width == 32
    again = conversions.read_image(stamped(shot.image, 7))
    assert again.stamp_ns == 7 and (conversions.to_rgb(again) == frame_at(5).rgb).all()


def test_reading_ahead_keeps_the_order_and_passes_errors_on():
    assert [stamp for stamp, _ in ahead((frame_at(k) for k in range(200)), threading.Event())] == list(range(200))

    def damaged():
        yield frame_at(1)
        raise DatasetError("truncated")

    shots = ahead(damaged(), threading.Event())
    assert next(shots)[0] == 1
    with pytest.raises(DatasetError, match="truncated"):
        next(shots)


def test_reading_ahead_ends_when_told():
    read, stop = [], threading.Event()
    shots = ahead((read.append(k) or frame_at(k) for k in range(10**9)), stop)
    assert len(list(islice(shots, 3))) == 3
    stop.set()
    assert len(list(shots)) < 200 and len(read) < 300


def test_waiting_frames_go_to_and_fro_without_a_frozen_moment():
    order = [k for k, _ in islice(to_and_fro(["a", "b", "c", "d"]), 13)]
    assert order == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert [k for k, _ in islice(to_and_fro(["a"]), 3)] == [0, 0, 0]


def test_the_pacer_waits_for_the_future_and_tells_how_late_it_is():
    slept = []
    pacer = Pacer(slept.append)
    assert pacer.wait(5.0) == 0.0
    pacer.wait(6.0)
    assert len(slept) == 1 and 0.9 < slept[0] <= 1.0
    assert pacer.wait(4.0) >= 1.0 and len(slept) == 1


@pytest.mark.ros
@pytest.mark.parametrize("node,parameters,reason", [
    ("supervisor_node", ["monitor.helthy:=0.5"], "unknown parameter monitor.helthy; did you mean monitor.healthy?"),
    ("replay_node", ["path:=/no/such/recording"], "/no/such/recording does not exist"),
    ("replay_node", ["rat:=2.0"], "unknown parameter rat; replay_node knows path, rate"),
])
def test_a_node_that_cannot_start_ends_with_one_clear_line(node, parameters, reason):
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    done = subprocess.run([sys.executable, "-m", f"storm_ros.{node}", "--ros-args", *arguments], cwd=ROOT, timeout=60,
                          env=os.environ | {"ROS_DOMAIN_ID": str(DOMAIN)}, capture_output=True, text=True)
    last = (done.stdout + done.stderr).strip().splitlines()[-1]
    assert done.returncode == CANNOT_START and reason in last
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.ros
def test_a_recording_that_is_damaged_half_way_ends_the_process_with_the_reason(tmp_path):
    for folder in ("rgb", "depth"):
        (tmp_path / folder).mkdir()
    for k in range(6):
        frame = frame_at(k)
        cv2.imwrite(str(tmp_path / "rgb" / f"{k:06d}.png"), frame.rgb)
        cv2.imwrite(str(tmp_path / "depth" / f"{k:06d}.png"), (1000 * frame.depth).astype("uint16"))
    camera = frame_at(0).camera
    (tmp_path / "camera.json").write_text(json.dumps({"width": camera.width, "height": camera.height, "fx": camera.fx,
                                                      "fy": camera.fy, "cx": camera.cx, "cy": camera.cy,
                                                      "depth_scale": 1.0}))
    (tmp_path / "depth" / "000004.png").write_bytes((tmp_path / "depth" / "000004.png").read_bytes()[:60])
    done = subprocess.run([sys.executable, "-m", "storm_ros.replay_node", "--ros-args", "-p", f"path:={tmp_path}"],
                          cwd=ROOT, timeout=60, env=os.environ | {"ROS_DOMAIN_ID": str(DOMAIN)}, capture_output=True,
                          text=True)
    assert done.returncode != 0 and "000004" in done.stdout + done.stderr
