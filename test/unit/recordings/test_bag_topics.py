"""Which topics of a bag make one camera, and what is refused instead of guessed."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from storm_core.bags import messages
from storm_core.bags.camera_topics import ImageTopic, choose_topics
from storm_core.bags.message_types import typestore
from storm_core.bags.recording import open_recording
from storm_core.bags.rosbag import BagRecording
from storm_core.errors import DatasetError
from test.unit.recordings.small_bags import CAMERA, START, Stamped, write_rosbag2

BAG = Path("bag")


def camera(name: str, frame: str, mm: int) -> list[Stamped]:
    """One picture of a camera as the RealSense driver names it, all depth alike."""
    at = messages.header(START, frame)
    return [(f"{name}/color/image_raw", START, messages.image(at, np.zeros((64, 96, 3), np.uint8), "rgb8")),
            (f"{name}/aligned_depth_to_color/image_raw", START,
             messages.image(at, np.full((64, 96), mm, np.uint16), "16UC1")),
            (f"{name}/color/camera_info", START, messages.camera_info(at, CAMERA))]


@pytest.mark.parametrize("frames", [("a", "b"), ("cam", "cam"), ("", "")])
def test_depth_comes_from_the_camera_of_the_colour_images(tmp_path: Path, frames: tuple[str, str]) -> None:
    bag = write_rosbag2(tmp_path / "bag", [*camera("/base", frames[0], 2000), *camera("/wrist", frames[1], 500)])
    for chosen in ({"image_topic": "/wrist/color/image_raw"},
                   {"depth_topic": "/wrist/aligned_depth_to_color/image_raw"}):
        recording = open_recording(bag, **chosen)
        assert isinstance(recording, BagRecording) and recording.image_topic == "/wrist/color/image_raw"
        assert np.allclose(next(recording.frames()).depth, 0.5)
    with pytest.raises(DatasetError, match=r"several cameras: /base/color.*; /wrist/color.*--image-topic"):
        open_recording(bag)


def choice(colors: dict[str, str], depths: dict[str, str]) -> tuple[str, str]:
    return choose_topics(BAG, [ImageTopic(*item) for item in colors.items()],
                         [ImageTopic(*item) for item in depths.items()])


@pytest.mark.parametrize(("colors", "depths", "color", "depth"), [
    ({"/camera/color/image_raw": "c", "/camera/color/image_raw/compressed": "c"},
     {"/camera/depth/image_rect_raw": "d", "/camera/aligned_depth_to_color/image_raw/compressedDepth": "c",
      "/camera/aligned_depth_to_color/image_raw": "c"},
     "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"),
    ({"/rgb/image_raw": "rgb"}, {"/depth/image_raw": "depth", "/depth_to_rgb/image_raw": "rgb"},
     "/rgb/image_raw", "/depth_to_rgb/image_raw"),
    ({"/oak/rgb/image_raw": "oak_rgb", "/oak/rgb/preview/image_raw": "oak_rgb"}, {"/oak/stereo/image_raw": "oak_right"},
     "/oak/rgb/image_raw", "/oak/stereo/image_raw"),
    ({"/zed/zed_node/left/image_rect_color": "left", "/zed/zed_node/right/image_rect_color": "right",
      "/zed/zed_node/rgb/image_rect_color": "left"}, {"/zed/zed_node/depth/depth_registered": "left"},
     "/zed/zed_node/left/image_rect_color", "/zed/zed_node/depth/depth_registered"),
    ({"/camera/rgb/image_rect_color": "rgb"}, {"/camera/depth_registered/image": "rgb", "/camera/depth/image": "d"},
     "/camera/rgb/image_rect_color", "/camera/depth_registered/image"),
    ({"/camera/image": "link"}, {"/camera/depth_image": "link"}, "/camera/image", "/camera/depth_image"),
    ({"/pictures": "x"}, {"/somewhere/else": "x"}, "/pictures", "/somewhere/else"),
    ({"/pictures": "x"}, {"/distances": "y"}, "/pictures", "/distances"),
    ({"/camera/color/image_raw": "c", "/webcam/image_raw": "w"}, {"/camera/depth/image_raw": "d"},
     "/camera/color/image_raw", "/camera/depth/image_raw"),
    ({"/camera/color/image_raw": "c"}, {"/camera_2/aligned_depth/image": "b", "/camera/depth/image_raw": "d"},
     "/camera/color/image_raw", "/camera/depth/image_raw"),
    ({"/wrist_color": "wc"}, {"/base_depth": "bd", "/wrist_depth": "wd"}, "/wrist_color", "/wrist_depth"),
])
def test_layouts_of_real_drivers(colors: dict[str, str], depths: dict[str, str], color: str, depth: str) -> None:
    assert choice(colors, depths) == (color, depth)


@pytest.mark.parametrize(("colors", "depths", "complaint"), [
    ({"/left/color/image_raw": "left"}, {"/right/depth/image_raw": "right"},
     r"/left/color/image_raw \(frame left\) and depth on /right/depth/image_raw \(frame right\).*--depth-topic"),
    ({"/seen": "x"}, {"/wrist/depth/image": "w", "/base/depth/image": "b"},
     "/base/depth/image and /wrist/depth/image both fit /seen; choose one with --depth-topic"),
    ({"/wrist/color/image": "w", "/base/color/image": "b"}, {"/range": "x"},
     "/base/color/image and /wrist/color/image both fit /range; choose one with --image-topic"),
])
def test_doubtful_cameras_are_refused_by_name(colors: dict[str, str], depths: dict[str, str], complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint):
        choice(colors, depths)


def test_topics_that_are_both_given_are_not_judged(tmp_path: Path) -> None:
    bag = write_rosbag2(tmp_path / "bag", [*camera("/base", "a", 2000), *camera("/wrist", "b", 500)])
    recording = open_recording(bag, image_topic="/wrist/color/image_raw",
                               depth_topic="/base/aligned_depth_to_color/image_raw")
    assert np.allclose(next(recording.frames()).depth, 2.0)


@pytest.mark.parametrize("transport", ["", "/compressed"])
def test_rectified_images_are_not_undistorted_again(tmp_path: Path, transport: str) -> None:
    """P describes them, K and D the raw images: P has the double focal length here."""
    at, types = messages.header(START, "cam"), typestore().types
    rgb = np.zeros((64, 96, 3), np.uint8)
    png = np.frombuffer(cv2.imencode(".png", rgb)[1].tobytes(), np.uint8)
    color = (types["sensor_msgs/msg/CompressedImage"](at, "rgb8; png compressed bgr8", png) if transport
             else messages.image(at, rgb, "rgb8"))
    info = messages.camera_info(at, CAMERA)
    info.d, info.p = np.array([-0.3, 0.1, 0, 0, 0.0]), np.hstack([CAMERA.matrix * [[2], [2], [1]],
                                                                   np.zeros((3, 1))]).reshape(12)
    bag = write_rosbag2(tmp_path / "bag", [
        (f"/camera/color/image_rect_color{transport}", START, color), ("/camera/color/camera_info", START, info),
        camera("/camera", "cam", 700)[1]])
    frame = next(open_recording(bag).frames())
    assert frame.camera.fx == 2 * CAMERA.fx and np.allclose(frame.depth, 0.7)
